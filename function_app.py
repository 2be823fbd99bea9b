"""The function app: every trigger of the service, gathered from ``functions``."""

import azure.functions as func

from functions import (
    bulk_update,
    bulkdata,
    changefeed,
    delete,
    description,
    dicomcast,
    export,
    extended_query_tags,
    fallback,
    health,
    indexing,
    operations,
    partitions,
    rendered,
    retrieve,
    search,
    store,
    subscribers,
    subscriptions,
    tenants,
    upkeep,
    wado,
    worklist,
)

app = func.FunctionApp(http_auth_level=func.AuthLevel.ANONYMOUS)
for module in (
    bulk_update,
    bulkdata,
    changefeed,
    delete,
    description,
    dicomcast,
    export,
    extended_query_tags,
    fallback,
    health,
    indexing,
    operations,
    partitions,
    rendered,
    retrieve,
    search,
    store,
    subscribers,
    subscriptions,
    tenants,
    upkeep,
    wado,
    worklist,
):
    app.register_functions(module.bp)
