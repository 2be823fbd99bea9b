// The function app on Flex Consumption, and its settings (docs/settings.md). It signs in everywhere as its identity.

param name string
param planName string
param location string
param tags object
param identityId string
param identityClientId string
@description('Address of the container with the package of the code.')
param packageAddress string
param hostStorageName string
param blobEndpoint string
param queueEndpoint string
param tableEndpoint string
param cosmosEndpoint string
param insightsAddress string
param secretAddress string
param webPubSubEndpoint string
param appSubnetId string
param publicNetworkAccess string
param tenants array
param apiClientId string
param publicBaseUrl string
param corsOrigins string
@allowed(['queue', 'blobTrigger'])
param blobEvents string
param httpConcurrency int
param instanceMemory int
param maximumInstances int
param alwaysReadyHttp int

var storageSuffix = environment().suffixes.storage
// Tokens of version 2 say the id in aud, those of version 1 its address. With several tenants the row of each has its own.
var ownAudiences = '${apiClientId},api://${apiClientId}'
var audiences = length(tenants) == 1 ? ownAudiences : 'api://${apiClientId}/{tenant}'
var alwaysReady = concat(alwaysReadyHttp > 0 ? [{ name: 'http', instanceCount: alwaysReadyHttp }] : [], blobEvents == 'blobTrigger' ? [{ name: 'blob', instanceCount: 1 }] : [])

// What differs from the default of docs/settings.md. Further ones: ../settings.json; those below win.
var settings = {
  // the host
  AzureWebJobsStorage__blobServiceUri: 'https://${hostStorageName}.blob.${storageSuffix}'
  AzureWebJobsStorage__queueServiceUri: 'https://${hostStorageName}.queue.${storageSuffix}'
  AzureWebJobsStorage__tableServiceUri: 'https://${hostStorageName}.table.${storageSuffix}'
  AzureWebJobsStorage__credential: 'managedidentity'
  AzureWebJobsStorage__clientId: identityClientId
  APPLICATIONINSIGHTS_CONNECTION_STRING: insightsAddress // an address: it takes tokens only
  APPLICATIONINSIGHTS_AUTHENTICATION_STRING: 'ClientId=${identityClientId};Authorization=AAD'
  FUNCTIONS_REQUEST_BODY_SIZE_LIMIT: '4294967296' // as DICOM_MAX_REQUEST_BYTES; the host's own is 100 MiB
  // the stores
  DicomStorage__blobServiceUri: blobEndpoint
  DicomStorage__queueServiceUri: queueEndpoint
  DicomStorage__tableServiceUri: tableEndpoint
  DicomStorage__credential: 'managedidentity'
  DicomStorage__clientId: identityClientId
  DicomCosmos__accountEndpoint: cosmosEndpoint
  DicomCosmos__clientId: identityClientId
  // the service
  DICOM_TENANTS: join(tenants, ',')
  DICOM_BLOB_EVENTS: blobEvents
  DICOM_PUBLIC_BASE_URL: publicBaseUrl // empty: the app's own address
  DICOM_CORS_ORIGINS: corsOrigins
  DICOM_SIGN_IN: 'required'
  DICOM_ISSUERS: '${environment().authentication.loginEndpoint}${tenant().tenantId}'
  DICOM_AUDIENCE: audiences
  DICOM_ADMIN_AUDIENCE: ownAudiences
  DICOM_SECRETS_KEY: '@Microsoft.KeyVault(SecretUri=${secretAddress})'
}

resource plan 'Microsoft.Web/serverfarms@2024-04-01' = {
  name: planName
  location: location
  tags: tags
  kind: 'functionapp'
  sku: { name: 'FC1', tier: 'FlexConsumption' }
  properties: { reserved: true }
}

resource site 'Microsoft.Web/sites@2024-04-01' = {
  name: name
  location: location
  tags: union(tags, { 'azd-service-name': 'api' })
  kind: 'functionapp,linux'
  identity: { type: 'UserAssigned', userAssignedIdentities: { '${identityId}': {} } }
  properties: {
    serverFarmId: plan.id
    httpsOnly: true
    publicNetworkAccess: publicNetworkAccess
    virtualNetworkSubnetId: empty(appSubnetId) ? null : appSubnetId
    keyVaultReferenceIdentity: identityId
    siteConfig: {
      minTlsVersion: '1.2'
      http20Enabled: true
    }
    functionAppConfig: {
      deployment: {
        storage: {
          type: 'blobContainer'
          value: packageAddress
          authentication: { type: 'UserAssignedIdentity', userAssignedIdentityResourceId: identityId }
        }
      }
      runtime: { name: 'python', version: '3.13' }
      scaleAndConcurrency: {
        // 2,048 MB: some 300 MB host, 250 MB worker with its codecs, 64 MB and 16 MB a request that runs, one decoder a
        // core with its frames (up to 800 MB for 100 million pixels). 16 requests stay below it; most wait for a store.
        // Python's own default is 1: an instance for each request.
        instanceMemoryMB: instanceMemory
        maximumInstanceCount: maximumInstances
        alwaysReady: alwaysReady
        triggers: { http: { perInstanceConcurrency: httpConcurrency } }
      }
    }
  }
}

resource appSettings 'Microsoft.Web/sites/config@2024-04-01' = {
  parent: site
  name: 'appsettings'
  properties: union(loadJsonContent('../settings.json'), settings, empty(webPubSubEndpoint) ? {} : { DICOM_WEBPUBSUB_ENDPOINT: webPubSubEndpoint })
}

// No sign-in by name and word for deployment either: azd has a token.
resource publishing 'Microsoft.Web/sites/basicPublishingCredentialsPolicies@2024-04-01' = [for way in ['ftp', 'scm']: {
  parent: site
  name: way
  properties: { allow: false }
}]

output name string = site.name
output id string = site.id
output uri string = 'https://${site.properties.defaultHostName}'
