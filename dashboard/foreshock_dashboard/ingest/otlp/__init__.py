"""Codec of OTLP spans: the one place that knows how trace.proto encodes a span.

Decoding a span completely costs far more than receiving it, mostly for attributes that are never read. So only what is
searched, paired and counted is decoded, and the bytes of the span are kept for the rest.

Imports: `model`.
"""
