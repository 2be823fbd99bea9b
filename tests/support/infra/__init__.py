"""Checks of ``infra``, ``azure.yaml`` and ``host.json``, as functions over their text.

Each takes an ``Infra`` and gives the problems that it finds, one line each, so that a test can also
ask whether a damaged copy is found out. There is no Bicep compiler among the packages that the
project can have: these look at what a compiler and a first deployment would refuse, and at what
neither would, that code and resources fit each other.
"""
