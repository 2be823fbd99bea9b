// The whole deployment, to be read as an index: parameters, then a module for each kind of resource, then outputs.
// Why it is as it is: docs/adr/0023. How it is run: docs/operations.md. Parameters come from main.parameters.json.
targetScope = 'subscription'

// Where and who ---------------------------------------------------------------------------------

@description('Name of the azd environment; resources are named after it.')
@minLength(1)
@maxLength(40)
param environmentName string
@description('Region of all resources.')
@metadata({ azd: { type: 'location' } })
param location string
@description('Object id of whoever deploys; may write rows of the registry. Empty: nobody.')
param principalId string = ''

// The service -----------------------------------------------------------------------------------

@description('Names of tenants, separated by commas; each gets a database, a blob container and its roles.')
param tenants string = 'main'
@description('Application id of the registration in Entra ID of the first tenant, which the hook before provisioning makes.')
param apiClientId string = ''
@description('Address that clients use, if it is not the one that Azure gives the app.')
param publicBaseUrl string = ''
@description('Origins whose pages may use the service, separated by commas.')
param corsOrigins string = ''
@description('How the app learns of new files: by a queue, without any key; or by a webhook with a key of the host.')
@allowed(['queue', 'blobTrigger'])
param blobEvents string = 'queue'
@description('Web PubSub, for subscribers of the worklist.')
param webPubSub bool = false

// Network ---------------------------------------------------------------------------------------

@description('Stores are reached by private endpoints only, and the app goes out through the network.')
param privateNetwork bool = false
@description('The service can be called from the internet. Without it, it takes privateNetwork and is reached there.')
param publicAccess bool = true

// Stores ----------------------------------------------------------------------------------------

@description('Redundancy of the archive.')
@allowed(['Standard_LRS', 'Standard_ZRS', 'Standard_GRS', 'Standard_GZRS', 'Standard_RAGZRS'])
param archiveSku string = 'Standard_ZRS'
@description('Days in which no version of a file can be deleted; 0: no such policy. Only when the account is made.')
@minValue(0)
param archiveImmutableDays int = 0
@description('Days that deleted files and containers can be brought back.')
@minValue(1)
@maxValue(365)
param softDeleteDays int = 14
@description('How the index is paid for: by request, or by its busiest hour.')
@allowed(['serverless', 'autoscale'])
param cosmosCapacity string = 'serverless'
@description('Autoscale: request units a second that a tenant uses at most.')
@minValue(1000)
param cosmosMaxThroughput int = 4000
@description('Strong: what was stored is found at once, by every instance of the app. Session: reads cost half.')
@allowed(['Strong', 'BoundedStaleness', 'Session'])
param cosmosConsistency string = 'Strong'
@description('Archive and index are encrypted with a key of the vault. Only when they are made.')
param customerManagedKey bool = false

// Size ------------------------------------------------------------------------------------------

@description('Requests at a time in one instance.')
@minValue(1)
param httpConcurrency int = 16
@description('Memory of an instance in MB.')
@allowed([512, 2048, 4096])
param instanceMemory int = 2048
@description('Instances of the app at most.')
@minValue(40)
@maxValue(1000)
param maximumInstances int = 100
@description('Instances that wait for requests; billed. 0: nothing runs when nobody calls.')
@minValue(0)
param alwaysReadyHttp int = 0

// Watching --------------------------------------------------------------------------------------

@description('Logs each read and write of files and documents by whoever; dear.')
param logDataAccess bool = false
@description('Days that logs are kept, the audit log among them.')
@minValue(30)
@maxValue(730)
param logRetentionDays int = 90
@description('Who gets alerts by mail.')
param alertEmail string = ''
@description('Budget of a month, in the currency of the bill; warns at 80 and 100 percent.')
@minValue(1)
param monthlyBudget int = 100
@description('First day of the month in which the budget was made; an output of the first deployment.')
param budgetStart string = ''
@description('Do not set: the day of the deployment.')
param thisMonth string = utcNow('yyyy-MM-01')

// Names -----------------------------------------------------------------------------------------

var abbreviations = loadJsonContent('./abbreviations.json')
var token = toLower(uniqueString(subscription().id, environmentName, location))
var tags = { 'azd-env-name': environmentName }
var tenantNames = split(replace(tenants, ' ', ''), ',')
var storesAccess = privateNetwork ? 'Disabled' : 'Enabled'
var serviceAccess = publicAccess ? 'Enabled' : 'Disabled'
var firstOfMonth = empty(budgetStart) ? thisMonth : budgetStart
var storageSuffix = environment().suffixes.storage

resource group 'Microsoft.Resources/resourceGroups@2024-03-01' = {
  name: '${abbreviations.resourceGroup}${environmentName}'
  location: location
  tags: tags
}

// Who the service is ------------------------------------------------------------------------------

module identity './app/identity.bicep' = {
  name: 'identity'
  scope: group
  params: {
    name: '${abbreviations.identity}${token}'
    location: location
    tags: tags
    customerManagedKey: customerManagedKey
  }
}

module vault './app/vault.bicep' = {
  name: 'vault'
  scope: group
  params: {
    name: '${abbreviations.keyVault}${token}'
    location: location
    tags: tags
    publicNetworkAccess: storesAccess
    customerManagedKey: customerManagedKey
    encryptionPrincipalId: identity.outputs.encryptionPrincipalId
  }
}

// What it keeps -----------------------------------------------------------------------------------

module archive './app/archive.bicep' = {
  name: 'archive'
  scope: group
  params: {
    name: '${abbreviations.storageAccount}dicom${token}'
    location: location
    tags: tags
    tenants: tenantNames
    sku: archiveSku
    publicNetworkAccess: storesAccess
    softDeleteDays: softDeleteDays
    immutableDays: archiveImmutableDays
    encryptionIdentityId: identity.outputs.encryptionId
    vaultUri: vault.outputs.uri
    keyName: vault.outputs.keyName
  }
}

module cosmos './app/cosmos.bicep' = {
  name: 'cosmos'
  scope: group
  params: {
    name: '${abbreviations.cosmosAccount}${token}'
    location: location
    tags: tags
    tenants: tenantNames
    capacity: cosmosCapacity
    maxThroughput: cosmosMaxThroughput
    consistency: cosmosConsistency
    publicNetworkAccess: storesAccess
    encryptionIdentityId: identity.outputs.encryptionId
    vaultUri: vault.outputs.uri
    keyName: vault.outputs.keyName
  }
}

module hostStorage './app/host-storage.bicep' = {
  name: 'host-storage'
  scope: group
  params: {
    name: '${abbreviations.storageAccount}host${token}'
    location: location
    tags: tags
    publicNetworkAccess: storesAccess
  }
}

module webPubSubService './app/web-pubsub.bicep' = if (webPubSub) {
  name: 'web-pubsub'
  scope: group
  params: {
    name: '${abbreviations.webPubSub}${token}'
    location: location
    tags: tags
    publicNetworkAccess: serviceAccess
  }
}

// Who may do what ---------------------------------------------------------------------------------

module roles './app/roles.bicep' = {
  name: 'roles'
  scope: group
  params: {
    appPrincipalId: identity.outputs.principalId
    deployerPrincipalId: principalId
    hostStorageName: hostStorage.outputs.name
    archiveName: archive.outputs.name
    cosmosName: cosmos.outputs.name
    vaultName: vault.outputs.name
    insightsName: monitoring.outputs.insightsName
    webPubSubName: webPubSub ? webPubSubService.outputs.name : ''
    tenants: tenantNames
    queueNames: archive.outputs.queueNames
    blobEvents: blobEvents
  }
}

module events './app/events.bicep' = {
  name: 'events'
  scope: group
  params: {
    name: '${abbreviations.systemTopic}${token}'
    location: location
    tags: tags
    archiveName: archive.outputs.name
    blobEvents: blobEvents
  }
}

// The network, by one switch ------------------------------------------------------------------------

module network './app/network.bicep' = if (privateNetwork) {
  name: 'network'
  scope: group
  params: {
    name: '${abbreviations.virtualNetwork}${token}'
    location: location
    tags: tags
  }
}

var storeEndpoints = [
  { name: 'archive-blob', resourceId: archive.outputs.id, group: 'blob', zone: 'privatelink.blob.${storageSuffix}' }
  { name: 'archive-queue', resourceId: archive.outputs.id, group: 'queue', zone: 'privatelink.queue.${storageSuffix}' }
  { name: 'archive-table', resourceId: archive.outputs.id, group: 'table', zone: 'privatelink.table.${storageSuffix}' }
  { name: 'host-blob', resourceId: hostStorage.outputs.id, group: 'blob', zone: 'privatelink.blob.${storageSuffix}' }
  { name: 'host-queue', resourceId: hostStorage.outputs.id, group: 'queue', zone: 'privatelink.queue.${storageSuffix}' }
  { name: 'host-table', resourceId: hostStorage.outputs.id, group: 'table', zone: 'privatelink.table.${storageSuffix}' }
  { name: 'cosmos', resourceId: cosmos.outputs.id, group: 'Sql', zone: 'privatelink.documents.azure.com' }
  { name: 'vault', resourceId: vault.outputs.id, group: 'vault', zone: 'privatelink.vaultcore.azure.net' }
]

// Before the app: it has to find its package and its stores when it starts.
module storeNetwork './app/endpoints.bicep' = if (privateNetwork) {
  name: 'store-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    prefix: '${abbreviations.privateEndpoint}${token}-'
    networkId: network.outputs.id
    subnetId: network.outputs.endpointSubnetId
    endpoints: storeEndpoints
  }
}

var frontEndpoints = concat(
  [{ name: 'api', resourceId: api.outputs.id, group: 'sites', zone: 'privatelink.azurewebsites.net' }],
  webPubSub ? [{ name: 'web-pubsub', resourceId: webPubSubService.outputs.id, group: 'webpubsub', zone: 'privatelink.webpubsub.azure.com' }] : []
)

module frontNetwork './app/endpoints.bicep' = if (privateNetwork && !publicAccess) {
  name: 'front-endpoints'
  scope: group
  params: {
    location: location
    tags: tags
    prefix: '${abbreviations.privateEndpoint}${token}-'
    networkId: network.outputs.id
    subnetId: network.outputs.endpointSubnetId
    endpoints: frontEndpoints
  }
}

// The service -------------------------------------------------------------------------------------

module api './app/api.bicep' = {
  name: 'api'
  scope: group
  params: {
    name: '${abbreviations.functionApp}${token}'
    planName: '${abbreviations.functionPlan}${token}'
    location: location
    tags: tags
    identityId: identity.outputs.id
    identityClientId: identity.outputs.clientId
    packageAddress: hostStorage.outputs.packageAddress
    hostStorageName: hostStorage.outputs.name
    blobEndpoint: archive.outputs.blobEndpoint
    queueEndpoint: archive.outputs.queueEndpoint
    tableEndpoint: archive.outputs.tableEndpoint
    cosmosEndpoint: cosmos.outputs.endpoint
    insightsAddress: monitoring.outputs.insightsAddress
    secretAddress: '${vault.outputs.uri}secrets/dicom-secrets-key'
    webPubSubEndpoint: webPubSub ? webPubSubService.outputs.endpoint : ''
    appSubnetId: privateNetwork ? network.outputs.appSubnetId : ''
    publicNetworkAccess: serviceAccess
    tenants: tenantNames
    apiClientId: apiClientId
    publicBaseUrl: publicBaseUrl
    corsOrigins: corsOrigins
    blobEvents: blobEvents
    httpConcurrency: httpConcurrency
    instanceMemory: instanceMemory
    maximumInstances: maximumInstances
    alwaysReadyHttp: alwaysReadyHttp
  }
  dependsOn: [roles, storeNetwork]
}

// Watching it -------------------------------------------------------------------------------------

module monitoring './app/monitoring.bicep' = {
  name: 'monitoring'
  scope: group
  params: {
    workspaceName: '${abbreviations.logWorkspace}${token}'
    insightsName: '${abbreviations.appInsights}${token}'
    location: location
    tags: tags
    retentionDays: logRetentionDays
  }
}

module diagnostics './app/diagnostics.bicep' = {
  name: 'diagnostics'
  scope: group
  params: {
    workspaceId: monitoring.outputs.workspaceId
    archiveName: archive.outputs.name
    cosmosName: cosmos.outputs.name
    vaultName: vault.outputs.name
    topicName: events.outputs.name
    siteName: api.outputs.name
    logDataAccess: logDataAccess
  }
}

module alerts './app/alerts.bicep' = {
  name: 'alerts'
  scope: group
  params: {
    prefix: token
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
    insightsId: monitoring.outputs.insightsId
    cosmosId: cosmos.outputs.id
    topicId: events.outputs.id
    serviceAddress: publicAccess ? api.outputs.uri : ''
    alertEmail: alertEmail
    isAutoscale: cosmosCapacity == 'autoscale'
    monthlyBudget: monthlyBudget
    budgetStart: firstOfMonth
    names: abbreviations
  }
}

module dashboard './app/dashboard.bicep' = {
  name: 'dashboard'
  scope: group
  params: {
    name: 'DICOM service ${environmentName}'
    location: location
    tags: tags
    workspaceId: monitoring.outputs.workspaceId
  }
}

// For azd and the hooks -----------------------------------------------------------------------------

output AZURE_LOCATION string = location
output AZURE_TENANT_ID string = tenant().tenantId
output AZURE_RESOURCE_GROUP string = group.name
output SERVICE_API_NAME string = api.outputs.name
output SERVICE_API_URI string = api.outputs.uri
output DICOM_STORAGE_ACCOUNT string = archive.outputs.name
output DICOM_BLOB_EVENTS string = blobEvents
output DICOM_BLOB_EVENT_TOPIC string = events.outputs.name
output DICOM_TENANTS string = join(tenantNames, ',')
output DICOM_COSMOS_ACCOUNT string = cosmos.outputs.name
output DICOM_KEY_VAULT string = vault.outputs.name
output DICOM_BUDGET_START string = firstOfMonth
