// Key Vault: dicom-secrets-key, which the hook after provisioning makes, and on demand the key that encrypts the stores.

param name string
param location string
param tags object
param publicNetworkAccess string
param customerManagedKey bool
@description('Principal of the identity that storage and Cosmos encrypt with; empty without a customer-managed key.')
param encryptionPrincipalId string

var roles = loadJsonContent('../roles.json')

resource vault 'Microsoft.KeyVault/vaults@2023-07-01' = {
  name: name
  location: location
  tags: tags
  properties: {
    tenantId: tenant().tenantId
    sku: { family: 'A', name: 'standard' }
    enableRbacAuthorization: true
    enableSoftDelete: true
    softDeleteRetentionInDays: 7
    enablePurgeProtection: true // a purged key takes all that it encrypts with it
    publicNetworkAccess: publicNetworkAccess
    networkAcls: {
      bypass: 'AzureServices' // Resource Manager writes the secret; storage and Cosmos read the key
      defaultAction: publicNetworkAccess == 'Enabled' ? 'Allow' : 'Deny'
    }
  }
}

resource key 'Microsoft.KeyVault/vaults/keys@2023-07-01' = if (customerManagedKey) {
  parent: vault
  name: 'dicom-stores'
  properties: {
    kty: 'RSA'
    keySize: 3072
    keyOps: ['wrapKey', 'unwrapKey']
    rotationPolicy: {
      lifetimeActions: [
        { trigger: { timeAfterCreate: 'P1Y' }, action: { type: 'rotate' } }
      ]
    }
  }
}

// Storage and Cosmos wrap their own keys with ours: this one key, nothing else in the vault.
resource encrypts 'Microsoft.Authorization/roleAssignments@2022-04-01' = if (customerManagedKey) {
  name: guid(vault.id, 'dicom-stores', encryptionPrincipalId, roles['Key Vault Crypto Service Encryption User'])
  scope: key
  properties: {
    principalId: encryptionPrincipalId
    principalType: 'ServicePrincipal'
    roleDefinitionId: subscriptionResourceId('Microsoft.Authorization/roleDefinitions', roles['Key Vault Crypto Service Encryption User'])
  }
}

output name string = vault.name
output id string = vault.id
output uri string = vault.properties.vaultUri
output keyName string = customerManagedKey ? key.name : ''
