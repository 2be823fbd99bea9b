"""The Functions host of one machine: runs the app's own triggers over HTTP and Azurite."""
