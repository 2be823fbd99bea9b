"""Bodies of the ports on Azure, Azurite and the Cosmos emulator: all that imports the SDKs."""
