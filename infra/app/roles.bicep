// Every role of the app's identity, and the one of whoever deploys. Those of the topic stand in events.bicep, that of
// the encryption in vault.bicep: each has to be there before what needs it.

param appPrincipalId string
@description('Object id of whoever deploys; empty: nobody gets a role.')
param deployerPrincipalId string
param hostStorageName string
param archiveName string
param cosmosName string
param vaultName string
param insightsName string
@description('Name of the Web PubSub service; empty: there is none.')
param webPubSubName string
param tenants array
param queueNames array
@allowed(['queue', 'blobTrigger'])
param blobEvents string

var roles = loadJsonContent('../roles.json')
var tables = loadJsonContent('../storage.json').tables
var definitions = 'Microsoft.Authorization/roleDefinitions'
var triggered = blobEvents == 'blobTrigger'
// The blob trigger of the host asks for Owner on what it watches; without it Contributor does.
var filesRole = triggered ? roles['Storage Blob Data Owner'] : roles['Storage Blob Data Contributor']

// The host's own account ------------------------------------------------------------------

resource hostStorage 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: hostStorageName
}

// Locks of timers, keys of the host, the package: the host makes containers as it likes, so it is the whole account.
resource hostBlobs 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostStorage.id, appPrincipalId, roles['Storage Blob Data Owner'])
  scope: hostStorage
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Blob Data Owner'])
  }
}

// Diagnostic events of the host ("storage cannot be reached", …) are rows of a table that it makes.
resource hostTables 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(hostStorage.id, appPrincipalId, roles['Storage Table Data Contributor'])
  scope: hostStorage
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Table Data Contributor'])
  }
}

// The blob trigger passes its work through queues of the host, which it makes.
resource hostQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (triggered) {
  name: guid(hostStorage.id, appPrincipalId, roles['Storage Queue Data Contributor'])
  scope: hostStorage
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Queue Data Contributor'])
  }
}

// The archive -----------------------------------------------------------------------------

resource archive 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: archiveName
}

resource files 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' existing = [for tenant in tenants: {
  name: '${archiveName}/default/dicom-${tenant}'
}]

// Reads, writes, deletes files: in the containers of the tenants, not in the account.
resource filesOf 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (tenant, i) in tenants: {
  name: guid(files[i].id, appPrincipalId, filesRole)
  scope: files[i]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, filesRole)
    description: 'Files of the tenant ${tenant}'
  }
}]

// A key by which it signs links of an hour to a file, so that exports need not pass through it. The key opens no more
// than the identity may; the role exists for the account only.
resource links 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(archive.id, appPrincipalId, roles['Storage Blob Delegator'])
  scope: archive
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Blob Delegator'])
  }
}

resource queues 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' existing = [for queue in queueNames: {
  name: '${archiveName}/default/${queue}'
}]

// Sends and takes messages, and puts off those that failed: that is an update, which neither Sender nor Processor may.
resource messages 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (queue, i) in queueNames: {
  name: guid(queues[i].id, appPrincipalId, roles['Storage Queue Data Contributor'])
  scope: queues[i]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Queue Data Contributor'])
    description: 'Messages of the queue ${queue}'
  }
}]

// The blob trigger has a queue for files that failed, which it makes in the account that it watches.
resource triggerQueues 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (triggered) {
  name: guid(archive.id, appPrincipalId, roles['Storage Queue Data Contributor'])
  scope: archive
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Queue Data Contributor'])
  }
}

resource rows 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' existing = [for table in tables: {
  name: '${archiveName}/default/${table}'
}]

// Reads and writes the registry and the failures of DICOMcast.
resource rowsOf 'Microsoft.Authorization/roleAssignments@2022-04-01' = [for (table, i) in tables: {
  name: guid(rows[i].id, appPrincipalId, roles['Storage Table Data Contributor'])
  scope: rows[i]
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Table Data Contributor'])
    description: 'Rows of the table ${table}'
  }
}]

resource registry 'Microsoft.Storage/storageAccounts/tableServices/tables@2024-01-01' existing = {
  name: '${archiveName}/default/tenants'
}

// Who deploys writes the rows of the tenants (infra/hooks/postprovision.py). A person or a pipeline: no principalType.
resource deployer 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(deployerPrincipalId)) {
  name: guid(registry.id, deployerPrincipalId, roles['Storage Table Data Contributor'])
  scope: registry
  properties: {
    principalId: deployerPrincipalId
    roleDefinitionId: subscriptionResourceId(definitions, roles['Storage Table Data Contributor'])
  }
}

// The index -------------------------------------------------------------------------------

resource cosmos 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' existing = {
  name: cosmosName
}

// Documents of each tenant's database; 2 is the built-in Data Contributor. It can make no database and no container.
@batchSize(1) // Cosmos refuses two such changes at a time
resource documents 'Microsoft.DocumentDB/databaseAccounts/sqlRoleAssignments@2024-11-15' = [for tenant in tenants: {
  parent: cosmos
  name: guid(cosmos.id, tenant, appPrincipalId)
  properties: {
    principalId: appPrincipalId
    roleDefinitionId: '${cosmos.id}/sqlRoleDefinitions/00000000-0000-0000-0000-000000000002'
    scope: '${cosmos.id}/dbs/dicom-${tenant}'
  }
}]

// The rest --------------------------------------------------------------------------------

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

// Reads dicom-secrets-key. The secret is made after this, so the role is for the vault; it has no other secret.
resource secrets 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(vault.id, appPrincipalId, roles['Key Vault Secrets User'])
  scope: vault
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Key Vault Secrets User'])
  }
}

resource insights 'Microsoft.Insights/components@2020-02-02' existing = {
  name: insightsName
}

// Sends telemetry; it reads none.
resource telemetry 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(insights.id, appPrincipalId, roles['Monitoring Metrics Publisher'])
  scope: insights
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Monitoring Metrics Publisher'])
  }
}

resource webPubSub 'Microsoft.SignalRService/webPubSub@2024-03-01' existing = {
  name: empty(webPubSubName) ? 'none' : webPubSubName
}

// Sends events to the sockets of subscribers, and signs the addresses by which they come in.
resource sockets 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (!empty(webPubSubName)) {
  name: guid(webPubSub.id, appPrincipalId, roles['Web PubSub Service Owner'])
  scope: webPubSub
  properties: {
    principalId: appPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId(definitions, roles['Web PubSub Service Owner'])
  }
}
