"""The function app: every trigger of the service, gathered from ``functions``."""

import azure.functions as func

from functions import (
    bulkdata,
    delete,
    description,
    fallback,
    health,
    indexing,
    operations,
    partitions,
    rendered,
    retrieve,
    search,
    store,
    upkeep,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for module in (
    health, store, search, retrieve, rendered, bulkdata, delete, indexing, upkeep, partitions,
    operations, description, fallback,
):  # fmt: skip
    app.register_functions(module.bp)
