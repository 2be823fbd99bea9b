"""Bodies of the ports on Azure, and on Azurite and the Cosmos emulator. The only importers of the SDKs."""
