// The archive: files of the tenants, a container each; queues of the work; tables of the registry.
// Flat namespace: with a hierarchical one there is no versioning (docs/adr/0023).

param name string
param location string
param tags object
param tenants array
param sku string
param publicNetworkAccess string
@description('Days that a deleted or overwritten blob can be brought back.')
param softDeleteDays int
@description('Days that no version of a file can be deleted by anybody; 0: no such policy. Only when the account is made.')
param immutableDays int
@description('Resource id of the identity that encrypts; empty: keys of Microsoft.')
param encryptionIdentityId string
param vaultUri string
param keyName string

var layout = loadJsonContent('../storage.json')
var queueNames = flatten(map(layout.queues, queue => [queue, '${queue}-poison']))
var identities = { '${encryptionIdentityId}': {} }
var ownKey = !empty(encryptionIdentityId)

resource account 'Microsoft.Storage/storageAccounts@2024-01-01' = {
  name: name
  location: location
  tags: tags
  kind: 'StorageV2'
  sku: { name: sku }
  identity: ownKey ? { type: 'UserAssigned', userAssignedIdentities: identities } : { type: 'None' }
  properties: {
    accessTier: 'Hot'
    allowSharedKeyAccess: false // there is no key to be lost; links are signed by the identity's own key
    allowBlobPublicAccess: false
    allowCrossTenantReplication: false
    defaultToOAuthAuthentication: true
    isHnsEnabled: false
    minimumTlsVersion: 'TLS1_2'
    supportsHttpsTrafficOnly: true
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices' // Event Grid delivers to the queue by its own identity
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
    immutableStorageWithVersioning: immutableDays > 0 ? { enabled: true, immutabilityPolicy: { state: 'Unlocked', immutabilityPeriodSinceCreationInDays: immutableDays } } : null
    encryption: {
      keySource: ownKey ? 'Microsoft.Keyvault' : 'Microsoft.Storage'
      requireInfrastructureEncryption: true
      identity: ownKey ? { userAssignedIdentity: encryptionIdentityId } : null
      keyvaultproperties: ownKey ? { keyvaulturi: vaultUri, keyname: keyName } : null // no version: it follows rotation
      services: {
        blob: { enabled: true, keyType: 'Account' }
        queue: { enabled: true, keyType: 'Account' }
        table: { enabled: true, keyType: 'Account' }
      }
    }
  }
}

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    isVersioningEnabled: true // files are written once: a version appears when one is deleted or overwritten
    deleteRetentionPolicy: { enabled: true, days: softDeleteDays }
    containerDeleteRetentionPolicy: { enabled: true, days: softDeleteDays }
  }
}

resource files 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = [for tenant in tenants: {
  parent: blobs
  name: 'dicom-${tenant}'
  properties: { publicAccess: 'None' }
}]

resource deadLetters 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' = {
  parent: blobs
  name: layout.deadLetters
  properties: { publicAccess: 'None' }
}

// A purge leaves a version. The rule deletes it, and soft delete keeps it for its days more: then the bytes are gone.
resource lifecycle 'Microsoft.Storage/storageAccounts/managementPolicies@2024-01-01' = {
  parent: account
  name: 'default'
  properties: {
    policy: {
      rules: [
        {
          name: 'versions-of-deleted-files'
          type: 'Lifecycle'
          enabled: true
          definition: {
            filters: { blobTypes: ['blockBlob'], prefixMatch: ['dicom-'] }
            actions: { version: { delete: { daysAfterCreationGreaterThan: softDeleteDays } } }
          }
        }
      ]
    }
  }
  dependsOn: [blobs]
}

resource queueService 'Microsoft.Storage/storageAccounts/queueServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' = [for queue in queueNames: {
  parent: queueService
  name: queue
}]

resource tableService 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' = {
  parent: account
  name: 'default'
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' = [for table in layout.tables: {
  parent: tableService
  name: table
}]

output name string = account.name
output id string = account.id
output blobEndpoint string = account.properties.primaryEndpoints.blob
output queueEndpoint string = account.properties.primaryEndpoints.queue
output tableEndpoint string = account.properties.primaryEndpoints.table
output queueNames array = queueNames
