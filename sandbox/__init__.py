"""A stand-in for PortOne V1 over real HTTP: its API, its webhook sender and switches for its failures.

It imports nothing of the service, so that tests have an independent oracle.
"""
