// What the stores themselves log, into the workspace. Who reads through the service is in its audit log already; these
// tell who came past it. They hold names of blobs, and with them UIDs: the workspace is as confidential as the archive.

param workspaceId string
param archiveName string
param cosmosName string
param vaultName string
param topicName string
param siteName string
@description('Also each read and write of files and documents: complete, and dear (a line for each).')
param logDataAccess bool

var everyAccess = ['StorageRead', 'StorageWrite', 'StorageDelete']
var fileLogs = map(logDataAccess ? everyAccess : ['StorageDelete'], name => { category: name, enabled: true })
var tableLogs = map(['StorageWrite', 'StorageDelete'], name => { category: name, enabled: true })
var indexCategories = concat(['ControlPlaneRequests', 'PartitionKeyRUConsumption'], logDataAccess ? ['DataPlaneRequests', 'QueryRuntimeStatistics'] : [])
var indexLogs = map(indexCategories, name => { category: name, enabled: true })

resource blobs 'Microsoft.Storage/storageAccounts/blobServices@2024-01-01' existing = {
  name: '${archiveName}/default'
}

resource files 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: blobs
  properties: {
    workspaceId: workspaceId
    logs: fileLogs
  }
}

resource tables 'Microsoft.Storage/storageAccounts/tableServices@2024-01-01' existing = {
  name: '${archiveName}/default'
}

// Whoever writes the table of tenants can let anybody in: each write is logged.
resource registry 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: tables
  properties: {
    workspaceId: workspaceId
    logs: tableLogs
  }
}

resource cosmos 'Microsoft.DocumentDB/databaseAccounts@2024-11-15' existing = {
  name: cosmosName
}

resource index 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: cosmos
  properties: {
    workspaceId: workspaceId
    logAnalyticsDestinationType: 'Dedicated' // tables of their own (CDB…), a third of the volume
    logs: indexLogs
  }
}

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' existing = {
  name: vaultName
}

resource secrets 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: vault
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'AuditEvent', enabled: true }]
  }
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' existing = {
  name: topicName
}

resource deliveries 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: topic
  properties: {
    workspaceId: workspaceId
    logs: [{ category: 'DeliveryFailures', enabled: true }]
  }
}

resource site 'Microsoft.Web/sites@2024-04-01' existing = {
  name: siteName
}

// The app's own logs go to Application Insights; here only what the platform says of it.
resource platform 'Microsoft.Insights/diagnosticSettings@2021-05-01-preview' = {
  name: 'workspace'
  scope: site
  properties: {
    workspaceId: workspaceId
    metrics: [{ category: 'AllMetrics', enabled: true }]
  }
}
