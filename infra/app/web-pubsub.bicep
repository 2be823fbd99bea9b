// Web PubSub: holds the sockets of worklist subscribers, which a function cannot.

param name string
param location string
param tags object
param publicNetworkAccess string

resource service 'Microsoft.SignalRService/webPubSub@2024-03-01' = {
  name: name
  location: location
  tags: tags
  sku: { name: 'Standard_S1', capacity: 1 }
  properties: {
    disableLocalAuth: true // there is no key: the app signs what it lets clients in with by its identity
    publicNetworkAccess: publicNetworkAccess
    tls: { clientCertEnabled: false }
  }
}

output name string = service.name
output id string = service.id
output endpoint string = 'https://${service.properties.hostName}'
