// A radiologist's first minute: OHIF from another origin lists a patient's study and shows its image.
//   node ohif_journey.mjs BASE_URL OHIF_DIST STUDY_UID PATIENT_ID PATIENT_NAME SCREENSHOT
// Prints one line of JSON: what was seen. Nothing but loopback is reached.
import fs from 'node:fs';
import http from 'node:http';
import os from 'node:os';
import path from 'node:path';
import chromiumPack from '@sparticuz/chromium';
import { chromium } from 'playwright-core';

const [base, dist, study, patientId, patientName, screenshot] = process.argv.slice(2);
const TOKEN = 'Bearer as-a-signed-in-user';
const PATIENCE_MS = 60_000;
const TYPES = {
  '.html': 'text/html', '.js': 'text/javascript', '.mjs': 'text/javascript', '.css': 'text/css',
  '.json': 'application/json', '.wasm': 'application/wasm', '.svg': 'image/svg+xml',
};

const configuration = {
  routerBasename: '/', extensions: [], modes: [], customizationService: {}, showStudyList: true,
  maxNumberOfWebWorkers: 1, showCPUFallbackMessage: false,
  investigationalUseDialog: { option: 'never' }, defaultDataSourceName: 'dicomweb',
  dataSources: [{
    namespace: '@ohif/extension-default.dataSourcesModule.dicomweb', sourceName: 'dicomweb',
    configuration: {
      friendlyName: 'under test', name: 'test', qidoRoot: base, wadoRoot: base, wadoUriRoot: base,
      qidoSupportsIncludeField: true, supportsFuzzyMatching: true, supportsWildcard: true,
      imageRendering: 'wadors', thumbnailRendering: 'wadors', enableStudyLazyLoad: true,
      omitQuotationForMultipartRequest: true, bulkDataURI: { enabled: true },
    },
  }],
};

function site() {
  const server = http.createServer((request, response) => {
    const { pathname } = new URL(request.url, 'http://127.0.0.1');
    if (pathname === '/app-config.js') {
      response.writeHead(200, { 'content-type': 'text/javascript' });
      return response.end(`window.config = ${JSON.stringify(configuration)};`);
    }
    let file = path.join(dist, path.normalize(decodeURIComponent(pathname)));
    if (!fs.existsSync(file) || fs.statSync(file).isDirectory()) file = path.join(dist, 'index.html');
    const type = TYPES[path.extname(file)] ?? 'application/octet-stream';
    response.writeHead(200, { 'content-type': type });
    return fs.createReadStream(file).pipe(response);
  });
  return new Promise((ready) => server.listen(0, '127.0.0.1', () => ready(server)));
}

// OHIF adds a signed-in user's token to its requests; then the browser asks in preflights for it.
function signIn([root, token]) {
  const { open, send } = XMLHttpRequest.prototype;
  XMLHttpRequest.prototype.open = function (method, url, ...rest) {
    this.isOurs = String(url).startsWith(root);
    return open.call(this, method, url, ...rest);
  };
  XMLHttpRequest.prototype.send = function (body) {
    if (this.isOurs) this.setRequestHeader('Authorization', token);
    return send.call(this, body);
  };
}

// Different grey levels on the largest canvas: a blank one has one or two.
function greyLevels() {
  let most = 0;
  for (const canvas of document.querySelectorAll('canvas')) {
    const context = canvas.width > 50 ? canvas.getContext('2d') : null;
    if (!context) continue;
    const { data } = context.getImageData(0, 0, canvas.width, canvas.height);
    const seen = new Set();
    for (let at = 0; at < data.length; at += 28) seen.add(data[at + 1] >> 2);
    most = Math.max(most, seen.size);
  }
  return most;
}

const server = await site();
const origin = `http://127.0.0.1:${server.address().port}`;
const profile = fs.mkdtempSync(path.join(os.tmpdir(), 'ohif-'));
const browser = await chromium.launchPersistentContext(profile, {
  executablePath: await chromiumPack.executablePath(), headless: true,
  viewport: { width: 1200, height: 800 },
  args: [
    '--no-sandbox', '--use-angle=swiftshader', '--enable-unsafe-swiftshader', '--disable-gpu',
    '--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1',
  ],
});
try {
  const page = await browser.newPage();
  const failed = [];
  page.on('response', (answer) => {
    if (answer.url().startsWith(base) && answer.status() >= 400) {
      failed.push(`${answer.status()} ${answer.url().slice(base.length)}`);
    }
  });
  await page.addInitScript(signIn, [base, TOKEN]);
  await page.goto(`${origin}/?mrn=${patientId}`, { waitUntil: 'domcontentloaded' });
  await page.waitForFunction(
    (id) => document.body.innerText.includes(id), patientId, { timeout: PATIENCE_MS });
  const listed = (await page.evaluate(() => document.body.innerText)).includes(patientName);
  await page.goto(`${origin}/viewer?StudyInstanceUIDs=${study}`, { waitUntil: 'domcontentloaded' });
  let levels = 0;
  for (const end = Date.now() + PATIENCE_MS; levels <= 8 && Date.now() < end;) {
    await page.waitForTimeout(300);
    levels = await page.evaluate(greyLevels).catch(() => 0);
  }
  await page.screenshot({ path: screenshot });
  console.log(JSON.stringify({ listed, picture: levels > 8, failed }));
} finally {
  await browser.close();
  server.close();
  fs.rmSync(profile, { recursive: true, force: true });
}
