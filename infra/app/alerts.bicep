// What wakes somebody, and the budget. docs/operations.md says what each alert means and what to do first.

param prefix string
param location string
param tags object
param workspaceId string
param insightsId string
param cosmosId string
param topicId string
@description('Base address of the service; empty where it cannot be reached from outside: then there is no availability test.')
param serviceAddress string
@description('Who gets a mail; empty: alerts are shown in the portal only.')
param alertEmail string
param isAutoscale bool
param monthlyBudget int
@description('First day of a month. A budget keeps the one that it was made with.')
param budgetStart string
param names object

var receivers = empty(alertEmail) ? [] : [{ name: 'operator', emailAddress: alertEmail, useCommonAlertSchema: true }]

resource group 'Microsoft.Insights/actionGroups@2023-01-01' = {
  name: '${names.actionGroup}${prefix}'
  location: 'global'
  tags: tags
  properties: {
    groupShortName: 'dicom'
    enabled: true
    emailReceivers: receivers
  }
}

// Alerts by what the logs say ----------------------------------------------------------------

var logAlerts = [
  {
    name: 'poison-queue'
    description: 'A message failed five times and was put on a poison queue.'
    severity: 2
    query: 'AppTraces | where Message has "Moving message to queue" and Message has "poison"'
  }
  {
    name: 'queue-age'
    description: 'Messages that wait for nothing were more than ten minutes old when their work began.'
    severity: 2
    query: 'AppTraces | where Message startswith "Trigger Details" | where OperationName in ("blob_events", "fan_out", "cast_study", "work_on_operation", "worklist_events") | extend sent = todatetime(extract("Insert(?:edOn|ionTime): ([^,]+)", 1, Message)) | where TimeGenerated - sent > 10m'
  }
  {
    name: 'server-errors'
    description: 'More than one answer in fifty was a 5xx, and at least five.'
    severity: 1
    query: 'AppRequests | where toint(ResultCode) between (200 .. 599) | summarize failed = countif(toint(ResultCode) >= 500), answered = count() | where failed >= 5 and failed * 50 > answered'
  }
]

resource byLog 'Microsoft.Insights/scheduledQueryRules@2022-06-15' = [for alert in logAlerts: {
  name: '${names.alert}${alert.name}-${prefix}'
  location: location
  tags: tags
  properties: {
    displayName: alert.name
    description: alert.description
    severity: alert.severity
    enabled: true
    scopes: [workspaceId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT5M'
    skipQueryValidation: true // the tables are there when the first line comes
    autoMitigate: true
    criteria: {
      allOf: [
        {
          query: alert.query
          timeAggregation: 'Count'
          operator: 'GreaterThan'
          threshold: 0
          failingPeriods: { numberOfEvaluationPeriods: 1, minFailingPeriodsToAlert: 1 }
        }
      ]
    }
    actions: { actionGroups: [group.id] }
  }
}]

// Alerts by metrics of the platform -------------------------------------------------------------

var throttled = [{ name: 'StatusCode', operator: 'Include', values: ['429'] }]
var everyMetricAlert = [
  { name: 'cosmos-429', description: 'Cosmos refuses requests: more request units are asked for than there are.', severity: 2, scope: cosmosId, namespace: 'Microsoft.DocumentDB/databaseAccounts', metric: 'TotalRequests', aggregation: 'Count', threshold: 100, dimensions: throttled }
  { name: 'cosmos-request-units', description: 'The busiest partition of the index uses more than 80 % of its request units.', severity: 3, scope: cosmosId, namespace: 'Microsoft.DocumentDB/databaseAccounts', metric: 'NormalizedRUConsumption', aggregation: 'Maximum', threshold: 80, dimensions: [] }
  { name: 'dead-letters', description: 'Events of new files were not delivered for a day and lie in the container dead-letters.', severity: 1, scope: topicId, namespace: 'Microsoft.EventGrid/systemTopics', metric: 'DeadLetteredCount', aggregation: 'Total', threshold: 0, dimensions: [] }
]
// A serverless account has no maximum of which it could use 80 %.
var metricAlerts = filter(everyMetricAlert, alert => isAutoscale || alert.name != 'cosmos-request-units')

resource byMetric 'Microsoft.Insights/metricAlerts@2018-03-01' = [for alert in metricAlerts: {
  name: '${names.alert}${alert.name}-${prefix}'
  location: 'global'
  tags: tags
  properties: {
    description: alert.description
    severity: alert.severity
    enabled: true
    scopes: [alert.scope]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria'
      allOf: [
        {
          name: alert.name
          criterionType: 'StaticThresholdCriterion'
          metricNamespace: alert.namespace
          metricName: alert.metric
          timeAggregation: alert.aggregation
          operator: 'GreaterThan'
          threshold: alert.threshold
          dimensions: alert.dimensions
        }
      ]
    }
    actions: [{ actionGroupId: group.id }]
  }
}]

// Availability -----------------------------------------------------------------------------

resource availability 'Microsoft.Insights/webtests@2022-06-15' = if (!empty(serviceAddress)) {
  name: '${names.webTest}health-${prefix}'
  location: location
  kind: 'standard'
  tags: union(tags, { 'hidden-link:${insightsId}': 'Resource' }) // the portal finds the test by it
  properties: {
    SyntheticMonitorId: '${names.webTest}health-${prefix}'
    Name: 'health'
    Kind: 'standard'
    Enabled: true
    Frequency: 900 // from three places: a call each five minutes, some dollars a month
    Timeout: 60 // a cold start is no outage
    RetryEnabled: true
    Locations: [{ Id: 'emea-nl-ams-azr' }, { Id: 'us-va-ash-azr' }, { Id: 'apac-sg-sin-azr' }]
    Request: { RequestUrl: '${serviceAddress}/health/check', HttpVerb: 'GET' }
    ValidationRules: { ExpectedHttpStatusCode: 200, SSLCheck: true, SSLCertRemainingLifetimeCheck: 7 }
  }
}

resource unavailable 'Microsoft.Insights/metricAlerts@2018-03-01' = if (!empty(serviceAddress)) {
  name: '${names.alert}availability-${prefix}'
  location: 'global'
  tags: tags
  properties: {
    description: '/health/check does not answer 200 from two places.'
    severity: 1
    enabled: true
    scopes: [availability.id, insightsId]
    evaluationFrequency: 'PT5M'
    windowSize: 'PT15M'
    autoMitigate: true
    criteria: {
      'odata.type': 'Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria'
      webTestId: availability.id
      componentId: insightsId
      failedLocationCount: 2
    }
    actions: [{ actionGroupId: group.id }]
  }
}

// The budget of the group: it warns, it stops nothing -----------------------------------------------

resource budget 'Microsoft.Consumption/budgets@2023-11-01' = {
  name: '${names.budget}${prefix}'
  properties: {
    category: 'Cost'
    amount: monthlyBudget
    timeGrain: 'Monthly'
    timePeriod: { startDate: budgetStart }
    notifications: {
      at80: { enabled: true, operator: 'GreaterThanOrEqualTo', threshold: 80, thresholdType: 'Actual', contactEmails: empty(alertEmail) ? [] : [alertEmail], contactGroups: [group.id] }
      at100: { enabled: true, operator: 'GreaterThanOrEqualTo', threshold: 100, thresholdType: 'Actual', contactEmails: empty(alertEmail) ? [] : [alertEmail], contactGroups: [group.id] }
    }
  }
}
