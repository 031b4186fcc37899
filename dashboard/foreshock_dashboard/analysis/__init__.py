"""Pure numpy: World in, findings and incidents out; no I/O and no clock.

Imports: nothing.
"""
