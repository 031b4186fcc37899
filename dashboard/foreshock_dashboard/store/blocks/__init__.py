"""Head and immutable blocks of one kind of data, for samples and spans alike.

Imports: `common`, `model`.
"""
