"""The function app: every trigger of the service, gathered from ``functions``."""

import azure.functions as func

from functions import health, store

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for module in (health, store):
    app.register_functions(module.bp)
