// New files: Event Grid tells the queue blob-events of each, signed in as the topic itself. No key, no webhook.
// With blobEvents == 'blobTrigger' the hook after deployment subscribes: that webhook has a key which only the host makes.

param name string
param location string
param tags object
param archiveName string
@allowed(['queue', 'blobTrigger'])
param blobEvents string

var roles = loadJsonContent('../roles.json')
var deadLetters = loadJsonContent('../storage.json').deadLetters
var eventsQueue = 'blob-events'

resource archive 'Microsoft.Storage/storageAccounts@2024-01-01' existing = {
  name: archiveName
}

resource queue 'Microsoft.Storage/storageAccounts/queueServices/queues@2024-01-01' existing = {
  name: '${archiveName}/default/${eventsQueue}'
}

resource deadLetterContainer 'Microsoft.Storage/storageAccounts/blobServices/containers@2024-01-01' existing = {
  name: '${archiveName}/default/${deadLetters}'
}

resource topic 'Microsoft.EventGrid/systemTopics@2025-02-15' = {
  name: name
  location: location
  tags: tags
  identity: { type: 'SystemAssigned' } // with the storage firewall closed no other identity is let through
  properties: {
    source: archive.id
    topicType: 'Microsoft.Storage.StorageAccounts'
  }
}

// The topic puts its events on this queue; it cannot read or delete any.
resource sends 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(queue.id, topic.id, roles['Storage Queue Data Message Sender'])
  scope: queue
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Queue Data Message Sender'])
  }
}

// The topic writes what it could not deliver into this container; there is no role that only adds.
resource buries 'Microsoft.Authorization/roleAssignments@2022-04-01' = {
  name: guid(deadLetterContainer.id, topic.id, roles['Storage Blob Data Contributor'])
  scope: deadLetterContainer
  properties: {
    principalId: topic.identity.principalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Storage Blob Data Contributor'])
  }
}

resource subscription 'Microsoft.EventGrid/systemTopics/eventSubscriptions@2025-02-15' = if (blobEvents == 'queue') {
  parent: topic
  name: 'blob-events'
  properties: {
    eventDeliverySchema: 'EventGridSchema'
    deliveryWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      destination: {
        endpointType: 'StorageQueue'
        properties: {
          resourceId: archive.id
          queueName: eventsQueue
          queueMessageTimeToLiveInSeconds: -1 // a message waits until it is worked on
        }
      }
    }
    filter: {
      includedEventTypes: ['Microsoft.Storage.BlobCreated']
      subjectBeginsWith: '/blobServices/default/containers/dicom-'
      advancedFilters: [
        { key: 'data.api', operatorType: 'StringIn', values: ['PutBlob', 'PutBlockList', 'CopyBlob'] }
        { key: 'Subject', operatorType: 'StringContains', values: ['/blobs/instances/', '/blobs/import/'] }
      ]
    }
    retryPolicy: { maxDeliveryAttempts: 30, eventTimeToLiveInMinutes: 1440 }
    deadLetterWithResourceIdentity: {
      identity: { type: 'SystemAssigned' }
      deadLetterDestination: {
        endpointType: 'StorageBlob'
        properties: { resourceId: archive.id, blobContainerName: deadLetters }
      }
    }
  }
  dependsOn: [sends, buries]
}

output name string = topic.name
output id string = topic.id
