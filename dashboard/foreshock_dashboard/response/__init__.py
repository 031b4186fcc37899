"""What people did about incidents, folded from the journal: the only state that no telemetry has.

Imports: `model`.
"""
