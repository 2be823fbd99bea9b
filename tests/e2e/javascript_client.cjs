// node javascript_client.cjs BASE_URL FILE: the whole way of one instance with dicomweb-client.
// Prints what it saw as one line of JSON; exits 1 with the error if a call fails.
const fs = require('fs');
globalThis.XMLHttpRequest = require('xhr2');
globalThis.self = globalThis;
const { api } = require('dicomweb-client');

const [base, file] = process.argv.slice(2);
const client = new api.DICOMwebClient({ url: base });
const bytes = fs.readFileSync(file);
const toArrayBuffer = (b) => b.buffer.slice(b.byteOffset, b.byteOffset + b.byteLength);
const first = (dataset, tag) => dataset[tag].Value[0];

(async () => {
  const answer = await client.storeInstances({ datasets: [toArrayBuffer(bytes)] });
  const stored = typeof answer === 'string' ? JSON.parse(answer) : answer;
  const item = first(stored, '00081199');
  const url = first(item, '00081190');
  const [, studyInstanceUID, seriesInstanceUID, sopInstanceUID] = url.match(
    /studies\/([^/]+)\/series\/([^/]+)\/instances\/([^/]+)$/,
  );
  const ids = { studyInstanceUID, seriesInstanceUID, sopInstanceUID };
  const found = await client.searchForStudies({ queryParams: { StudyInstanceUID: studyInstanceUID } });
  const series = await client.searchForSeries({ studyInstanceUID });
  const instances = await client.searchForInstances({ studyInstanceUID, seriesInstanceUID });
  const whole = await client.retrieveInstance(ids);
  const frames = await client.retrieveInstanceFrames({ ...ids, frameNumbers: [1] });
  const metadata = await client.retrieveSeriesMetadata({ studyInstanceUID, seriesInstanceUID });
  await new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    request.open('DELETE', `${base}/studies/${studyInstanceUID}`);
    request.onload = () => (request.status === 204 ? resolve() : reject(new Error(`${request.status}`)));
    request.onerror = reject;
    request.send();
  });
  const after = await client.searchForStudies({ queryParams: { StudyInstanceUID: studyInstanceUID } });
  console.log(
    JSON.stringify({
      stored: stored['00081199'].Value.length,
      found: found.length,
      series: series.length,
      instances: instances.length,
      sameBytes: Buffer.compare(Buffer.from(whole), bytes) === 0,
      frameBytes: frames[0].byteLength,
      metadata: metadata.length,
      afterDelete: after ? after.length : 0,
    }),
  );
})().catch((error) => {
  console.error(error.status, error.message, error);
  process.exit(1);
});
