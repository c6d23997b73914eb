// Drives the real Node tracker through the story beside this file.
//
//     OTEL_SESSION_TRACKERS=<folder of install.sh> node track.mjs ENDPOINT
//
// Prints a JSON line for each event that the tracker says it sent: its id, and what it meant.

import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';

const require = createRequire(join(process.env.OTEL_SESSION_TRACKERS, 'here.js'));
const { newTracker, buildPageView, buildStructEvent, buildSelfDescribingEvent, version } =
  require('@snowplow/node-tracker');
const story = JSON.parse(readFileSync(new URL('story.json', import.meta.url), 'utf8'));

for (const method of ['post', 'get']) {
  for (const base64 of [true, false]) {
    await tell(process.argv[2], method, base64, false);
  }
}
await tell(process.argv[2], 'post', true, true);

async function tell(endpoint, method, base64, anonymous) {
  const name = `${method} ${base64 ? 'base64' : 'plain'}${anonymous ? ' anonymous' : ''}`;
  const acknowledged = [];
  const failed = [];
  const tracker = newTracker(
    { namespace: `${story.namespace} ${name}`, appId: story.app_id, encodeBase64: base64 },
    {
      endpoint,
      eventMethod: method,
      // Three events: a request that starts at the second, and what it left for the flush.
      bufferSize: method === 'post' ? 2 : 1,
      serverAnonymization: anonymous,
      onRequestSuccess: (events) => acknowledged.push(...events.map((event) => event.eid)),
      onRequestFailure: (failure) => failed.push(failure),
    }
  );
  let common = { aid: story.app_id, tna: `${story.namespace} ${name}`, tv: `node-${version}`, p: 'srv' };
  if (!anonymous) {
    common = { ...common, ...setSubject(tracker) };
  }
  const told = [];
  const tell = (e, payload, parameters, rest) => {
    told.push({ eid: payload.eid, e, parameters: { ...common, ...parameters }, contexts: [], ...rest });
  };

  const page = story.page_view;
  const view = buildPageView({ pageUrl: page.url, pageTitle: page.title, referrer: page.referrer });
  tell('pv', tracker.track(view), { url: page.url, page: page.title, refr: page.referrer });

  const { category, action, label, property, value } = story.struct;
  const at = { type: 'dtm', value: story.true_timestamp };
  tell('se', tracker.track(buildStructEvent({ category, action, label, property, value }), [], at), {
    se_ca: category,
    se_ac: action,
    se_la: label,
    se_pr: property,
    se_va: String(value),
    dtm: String(story.true_timestamp),
  });

  const contexts = [story.client_session, story.application];
  const event = buildSelfDescribingEvent({ event: story.self_describing });
  const ttm = { type: 'ttm', value: story.true_timestamp };
  tell('ue', tracker.track(event, contexts, ttm), { ttm: String(story.true_timestamp) }, {
    self_describing: story.self_describing,
    contexts,
  });

  // Its flush returns at once while another is under way, and the callbacks come a turn later.
  for (const deadline = Date.now() + 20_000; acknowledged.length + failed.length < told.length && Date.now() < deadline; ) {
    await tracker.flush();
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual(failed, []);
  assert.deepEqual(acknowledged, told.map((event) => event.eid));
  for (const event of told) {
    console.log(JSON.stringify({ case: name, anonymous, ...event }));
  }
}

/** Tells the tracker who the user is, and returns what that means on the wire. */
function setSubject(tracker) {
  const said = story.subject;
  tracker.setUserId(said.user_id);
  tracker.setScreenResolution(...said.screen_resolution);
  tracker.setViewport(...said.viewport);
  tracker.setColorDepth(said.color_depth);
  tracker.setTimezone(said.timezone);
  tracker.setLang(said.lang);
  tracker.setDomainUserId(said.domain_user_id);
  tracker.setSessionId(said.domain_session_id);
  tracker.setSessionIndex(said.domain_session_index);
  tracker.setIpAddress(said.ip_address);
  tracker.setUseragent(said.useragent);
  tracker.setNetworkUserId(said.network_user_id);
  return {
    uid: said.user_id,
    res: said.screen_resolution.join('x'),
    vp: said.viewport.join('x'),
    cd: String(said.color_depth),
    tz: said.timezone,
    lang: said.lang,
    duid: said.domain_user_id,
    sid: said.domain_session_id,
    vid: String(said.domain_session_index),
    ip: said.ip_address,
    ua: said.useragent,
    nuid: said.network_user_id,
  };
}
