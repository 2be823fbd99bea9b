// Who the service is. User-assigned, so that its roles are there before the app starts for the first time.

param name string
param location string
param tags object
@description('Whether keys of the vault encrypt the stores: that takes an identity of its own, which the app cannot use.')
param customerManagedKey bool

resource app 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = {
  name: name
  location: location
  tags: tags
}

resource encryption 'Microsoft.ManagedIdentity/userAssignedIdentities@2023-01-31' = if (customerManagedKey) {
  name: '${name}-encryption'
  location: location
  tags: tags
}

output id string = app.id
output clientId string = app.properties.clientId
output principalId string = app.properties.principalId
output encryptionId string = customerManagedKey ? encryption.id : ''
output encryptionPrincipalId string = customerManagedKey ? encryption.properties.principalId : ''
