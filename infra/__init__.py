"""What makes the service in Azure: Bicep files, and the hooks of ``azd`` in ``hooks``."""
