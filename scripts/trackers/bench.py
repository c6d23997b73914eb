"""The real Python tracker in `cargo bench --bench bridge`.

    python bench.py EMITTER ENDPOINT EVENT ROUND ROUNDS

EMITTER is `Emitter` or `AsyncEmitter`, EVENT the JSON of benches/bridge/event.json, ROUND the events that are handed over
at once, ROUNDS how often. Prints a line of JSON: events, and the wall-clock and CPU nanoseconds that they took.
"""

import json
import logging
import sys
import time

import requests
from snowplow_tracker import AsyncEmitter, Emitter, SelfDescribing, SelfDescribingJson, Subject, Tracker


def main(kind, endpoint, event, size, rounds):
    logging.disable(logging.CRITICAL)
    event = json.loads(event)
    acknowledged = 0

    def on_success(events):
        nonlocal acknowledged
        acknowledged += len(events)

    emitter = {"Emitter": Emitter, "AsyncEmitter": AsyncEmitter}[kind](
        endpoint,
        batch_size=50,
        buffer_capacity=max(10_000, size),
        on_success=on_success,
        # Without it each request opens a connection.
        session=requests.Session(),
    )
    said = event["client_session"]
    subject = Subject().set_platform("srv").set_domain_user_id(said["userId"])
    subject.set_domain_session_id(said["sessionId"]).set_domain_session_index(said["sessionIndex"])
    tracker = Tracker("bench", emitter, subject=subject, app_id="shop", encode_base64=True)
    index = 0
    wall = cpu = 0
    # The first round warms up.
    for number in range(rounds + 1):
        events = []
        for _ in range(size):
            index += 1
            session = SelfDescribingJson(
                "iglu:com.snowplowanalytics.snowplow/client_session/jsonschema/1-0-2",
                event["client_session"] | {"eventIndex": index},
            )
            described = SelfDescribingJson(event["schema"], dict(event["data"]))
            events.append(SelfDescribing(described, context=[session]))
        before = time.perf_counter_ns(), time.process_time_ns()
        for item in events:
            tracker.track(item)
        tracker.flush()
        assert acknowledged == index, (acknowledged, index)
        if number > 0:
            wall += time.perf_counter_ns() - before[0]
            cpu += time.process_time_ns() - before[1]
    print(json.dumps({"events": index, "timed": size * rounds, "wall": wall, "cpu": cpu}))


main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
