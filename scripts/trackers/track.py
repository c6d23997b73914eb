"""Drives the real Python tracker through the story beside this file.

    <folder of install.sh>/python/bin/python track.py ENDPOINT

Prints a JSON line for each event that the tracker says it sent: its id, and what it meant.
"""

import json
import logging
import pathlib
import sys

import requests
import snowplow_tracker
from snowplow_tracker import EmitterConfiguration, PageView, SelfDescribing, SelfDescribingJson, Snowplow
from snowplow_tracker import StructuredEvent, Subject, TrackerConfiguration

STORY = json.loads(pathlib.Path(__file__).with_name("story.json").read_text(encoding="utf-8"))


def main(endpoint):
    # The tracker sets the level of each of its loggers, so only this silences what it says of every request.
    logging.disable(logging.INFO)
    for method in ["post", "get"]:
        for base64 in [True, False]:
            tell(endpoint, method, base64, anonymous=False)
    # This tracker has no setting for it; its users give it a session with the header.
    tell(endpoint, "post", True, anonymous=True)


def tell(endpoint, method, base64, anonymous):
    name = f"{method} {'base64' if base64 else 'plain'}{' anonymous' if anonymous else ''}"
    acknowledged = []
    failed = []
    session = requests.Session()
    if anonymous:
        session.headers["SP-Anonymous"] = "*"
    tracker = Snowplow.create_tracker(
        namespace=f"{STORY['namespace']} {name}",
        endpoint=endpoint,
        method=method,
        app_id=STORY["app_id"],
        subject=None if anonymous else subject(),
        tracker_config=TrackerConfiguration(encode_base64=base64),
        # Three events: one request of two, and one that waits for the flush.
        emitter_config=EmitterConfiguration(
            batch_size=2 if method == "post" else 1,
            on_success=lambda events: acknowledged.extend(event["eid"] for event in events),
            on_failure=lambda count, events: failed.extend(events),
            session=session,
            request_timeout=(5, 10),
        ),
    )
    common = {"aid": STORY["app_id"], "tna": f"{STORY['namespace']} {name}", "tv": f"py-{snowplow_tracker.__version__}"}
    common |= {"p": "pc"} if anonymous else subject_parameters()
    told = []

    page = STORY["page_view"]
    eid = tracker.track(PageView(page_url=page["url"], page_title=page["title"], referrer=page["referrer"]))
    told.append({"eid": eid, "e": "pv", "parameters": page_parameters() | common, "contexts": []})

    struct = STORY["struct"]
    one_user = Subject().set_user_id("grace")
    eid = tracker.track(
        StructuredEvent(
            category=struct["category"],
            action=struct["action"],
            label=struct["label"],
            property_=struct["property"],
            value=struct["value"],
            event_subject=None if anonymous else one_user,
        )
    )
    # A new Subject says `pc`, and the event's stands above the tracker's.
    own = {} if anonymous else {"uid": "grace", "p": "pc"}
    told.append({"eid": eid, "e": "se", "parameters": struct_parameters() | common | own, "contexts": []})

    entities = [STORY["client_session"], STORY["application"]]
    eid = tracker.track(
        SelfDescribing(
            SelfDescribingJson(STORY["self_describing"]["schema"], STORY["self_describing"]["data"]),
            context=[SelfDescribingJson(entity["schema"], entity["data"]) for entity in entities],
            true_timestamp=STORY["true_timestamp"],
        )
    )
    own = {"ttm": str(STORY["true_timestamp"])}
    told.append(
        {
            "eid": eid,
            "e": "ue",
            "parameters": common | own,
            "self_describing": STORY["self_describing"],
            "contexts": entities,
        }
    )

    tracker.flush()
    assert not failed, failed
    assert acknowledged == [event["eid"] for event in told], (acknowledged, told)
    for event in told:
        print(json.dumps({"case": name, "anonymous": anonymous} | event), flush=True)


def subject():
    said = STORY["subject"]
    return (
        Subject()
        .set_platform("srv")
        .set_user_id(said["user_id"])
        .set_screen_resolution(*said["screen_resolution"])
        .set_viewport(*said["viewport"])
        .set_color_depth(said["color_depth"])
        .set_timezone(said["timezone"])
        .set_lang(said["lang"])
        .set_domain_user_id(said["domain_user_id"])
        .set_domain_session_id(said["domain_session_id"])
        .set_domain_session_index(said["domain_session_index"])
        .set_ip_address(said["ip_address"])
        .set_useragent(said["useragent"])
        .set_network_user_id(said["network_user_id"])
    )


def subject_parameters():
    said = STORY["subject"]
    return {
        "p": "srv",
        "uid": said["user_id"],
        "res": "x".join(str(pixels) for pixels in said["screen_resolution"]),
        "vp": "x".join(str(pixels) for pixels in said["viewport"]),
        "cd": str(said["color_depth"]),
        "tz": said["timezone"],
        "lang": said["lang"],
        "duid": said["domain_user_id"],
        "sid": said["domain_session_id"],
        "vid": str(said["domain_session_index"]),
        "ip": said["ip_address"],
        "ua": said["useragent"],
        "tnuid": said["network_user_id"],
    }


def page_parameters():
    page = STORY["page_view"]
    return {"url": page["url"], "page": page["title"], "refr": page["referrer"]}


def struct_parameters():
    struct = STORY["struct"]
    return {
        "se_ca": struct["category"],
        "se_ac": struct["action"],
        "se_la": struct["label"],
        "se_pr": struct["property"],
        "se_va": str(struct["value"]),
    }


main(sys.argv[1])
