// The real Node tracker in `cargo bench --bench bridge`.
//
//     OTEL_SESSION_TRACKERS=<folder of install.sh> node bench.mjs ENDPOINT EVENT ROUND ROUNDS
//
// EVENT is the JSON of benches/bridge/event.json, ROUND the events that are handed over at once, ROUNDS how often. Prints a
// line of JSON: events, and the wall-clock and CPU nanoseconds that they took.

import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.OTEL_SESSION_TRACKERS, 'here.js'));
const { newTracker, buildSelfDescribingEvent } = require('@snowplow/node-tracker');

// Its store keeps 1,000 events and copies them for every request: more at once would be lost, or slower.
const AT_ONCE = 500;

const [endpoint, text, size, rounds] = process.argv.slice(2);
const event = JSON.parse(text);
let acknowledged = 0;
let wake = () => {};

// A request is full at the first event that reaches its limit in bytes, so the limit that makes it fifty events lies
// between forty-nine and fifty of them.
let eventBytes = 0;
const tracker = newTracker(
  { namespace: 'bench', appId: 'shop', encodeBase64: true },
  { endpoint, maxPostBytes: 88 + 49.5 * measured(), bufferSize: 50, connectionTimeout: 60_000, onRequestSuccess: succeeded }
);

named(tracker);

let index = 0;
let wall = 0n;
let cpu = 0;
// The first round warms up.
for (let round = 0; round <= Number(rounds); round += 1) {
  for (let left = Number(size); left > 0; left -= AT_ONCE) {
    const handed = Array.from({ length: Math.min(left, AT_ONCE) }, () => argumentsOf((index += 1)));
    const before = [process.hrtime.bigint(), process.cpuUsage()];
    for (const [described, entities] of handed) {
      tracker.track(buildSelfDescribingEvent(described), entities);
    }
    await tracker.flush();
    while (acknowledged < index) {
      await new Promise((resolve) => (wake = resolve));
    }
    if (round > 0) {
      const spent = process.cpuUsage(before[1]);
      wall += process.hrtime.bigint() - before[0];
      cpu += (spent.user + spent.system) * 1000;
    }
  }
}
console.log(JSON.stringify({ events: index, timed: size * rounds, wall: Number(wall), cpu }));

function succeeded(events) {
  acknowledged += events.length;
  wake();
}

function argumentsOf(eventIndex) {
  const session = {
    schema: 'iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2',
    data: { ...event.client_session, eventIndex },
  };
  return [{ event: { schema: event.schema, data: { ...event.data } } }, [session]];
}

function named(tracker) {
  const { userId, sessionId, sessionIndex } = event.client_session;
  tracker.setDomainUserId(userId);
  tracker.setSessionId(sessionId);
  tracker.setSessionIndex(sessionIndex);
}

/** The bytes of such an event on the wire, as the tracker counts them; an index has six digits at most. */
function measured() {
  const probe = newTracker(
    { namespace: 'bench', appId: 'shop', encodeBase64: true },
    { customEmitter: () => ({ input: (payload) => (eventBytes = Buffer.byteLength(JSON.stringify(payload))) }) }
  );
  named(probe);
  const [described, entities] = argumentsOf(100_000);
  probe.track(buildSelfDescribingEvent(described), entities);
  return eventBytes;
}
