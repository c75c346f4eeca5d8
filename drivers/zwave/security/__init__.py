"""Both security classes of Z-Wave (SDS13783): primitives, key derivation, S0, S2, key exchange, DSKs and QR codes. PURE.

Randomness is an argument: `Entropy` gives that many unpredictable bytes.
"""
