// The index: one Cosmos account, a database for each tenant, in it the containers of ../cosmos.json.

param name string
param location string
param tags object
param tenants array
@description('serverless: pay by request; autoscale: a maximum for each database. It cannot be changed back to serverless.')
@allowed(['serverless', 'autoscale'])
param capacity string
@description('Request units a second that the containers of one tenant share at most; autoscale only, at least 1000.')
param maxThroughput int
@allowed(['Strong', 'BoundedStaleness', 'Session'])
param consistency string
param publicNetworkAccess string
@description('Resource id of the identity that encrypts; empty: keys of Microsoft.')
param encryptionIdentityId string
param vaultUri string
param keyName string

var schema = loadJsonContent('../cosmos.json')
var pairs = flatten(map(tenants, tenant => map(schema.containers, container => { tenant: tenant, container: container })))
var identities = { '${encryptionIdentityId}': {} }
var ownKey = !empty(encryptionIdentityId)
var staleness = { maxStalenessPrefix: 10, maxIntervalInSeconds: 5 }

resource account 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' = {
  name: name
  location: location
  tags: tags
  kind: 'GlobalDocumentDB'
  identity: ownKey ? { type: 'UserAssigned', userAssignedIdentities: identities } : { type: 'None' }
  properties: {
    databaseAccountOfferType: 'Standard'
    locations: [
      { locationName: location, failoverPriority: 0, isZoneRedundant: false }
    ]
    capabilities: capacity == 'serverless' ? [{ name: 'EnableServerless' }] : []
    // What one instance of the app has stored, another one finds at once (docs/adr/0023).
    consistencyPolicy: union({ defaultConsistencyLevel: consistency }, consistency == 'BoundedStaleness' ? staleness : {})
    disableLocalAuth: true // there is no key to be lost
    disableKeyBasedMetadataWriteAccess: true
    minimalTlsVersion: 'Tls12'
    publicNetworkAccess: publicNetworkAccess
    networkAclBypass: 'None'
    backupPolicy: {
      type: 'Continuous'
      continuousModeProperties: { tier: 'Continuous30Days' }
    }
    defaultIdentity: ownKey ? 'UserAssignedIdentity=${encryptionIdentityId}' : 'FirstPartyIdentity'
    keyVaultKeyUri: ownKey ? '${vaultUri}keys/${keyName}' : null
  }
}

resource databases 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases@2024-11-15' = [for tenant in tenants: {
  parent: account
  name: 'dicom-${tenant}'
  properties: {
    resource: { id: 'dicom-${tenant}' }
    options: capacity == 'autoscale' ? { autoscaleSettings: { maxThroughput: maxThroughput } } : {}
  }
}]

resource containers 'Microsoft.DocumentDB/databaseAccounts/sqlDatabases/containers@2024-11-15' = [for pair in pairs: {
  name: '${name}/dicom-${pair.tenant}/${pair.container.name}'
  properties: {
    resource: {
      id: pair.container.name
      partitionKey: { paths: [pair.container.partitionKey], kind: 'Hash', version: 2 }
      indexingPolicy: pair.container.indexingPolicy
      uniqueKeyPolicy: { uniqueKeys: pair.container.uniqueKeys }
    }
  }
  dependsOn: [databases]
}]

output name string = account.name
output id string = account.id
output endpoint string = account.properties.documentEndpoint
