"""A small shop that takes its payments through the sandbox, with a live timeline of each payment.

Its pages use the browser SDK and the service's public API alone. Its back end holds the service key.
"""
