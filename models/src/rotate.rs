//! Calls that end sessions, against each other and against signals.

use loom::thread::spawn;

use crate::rig::{Rig, explore};
use crate::session::EndReason;

pub(crate) fn rotations_and_a_touch_follow_each_other_in_one_chain() {
    explore(None, || {
        let (rig, first) = Rig::started();
        rig.clock.move_to(1);
        let rotations = [0, 1].map(|_| {
            let rig = rig.clone();
            spawn(move || rig.current.rotate().expect("not stopped").id().to_owned())
        });
        let touched = rig.touch();
        let rotated = rotations.map(|it| it.join().expect("no panic"));
        assert_ne!(rotated[0], rotated[1]);
        assert_eq!(rig.counts(), (3, 2));
        assert!(touched == first || rotated.iter().any(|id| id == touched));
        let live = rig.current.peek().expect("live");
        assert_eq!(live.index(), 3);
        assert!(rotated.iter().any(|id| id == live.id()));
    });
}

pub(crate) fn after_an_end_a_touch_starts_an_unlinked_session() {
    explore(None, || {
        let (rig, first) = Rig::started();
        rig.clock.move_to(1);
        let other = spawn({
            let rig = rig.clone();
            move || rig.touch()
        });
        rig.current.end();
        let after = rig.touch();
        let other = other.join().expect("no panic");
        assert_ne!(after, first, "an ended session does not come back");
        assert!(other == first || other == after);
        // That the next one is unlinked is among the chain's invariants.
        assert_eq!(rig.counts(), (2, 1));
    });
}

pub(crate) fn nothing_starts_after_a_stop_and_everything_started_has_ended() {
    explore(None, || {
        let (rig, _) = Rig::started();
        rig.clock.move_to(1);
        let toucher = spawn({
            let rig = rig.clone();
            move || rig.touch()
        });
        let rotator = spawn({
            let rig = rig.clone();
            move || rig.current.rotate().expect("there was a session").id().to_owned()
        });
        rig.current.stop();
        let (started, ended) = rig.counts();
        assert_eq!(started, ended);
        let last = rig.transitions().last().and_then(|it| it.transition.ended().copied()).expect("an end");
        assert_eq!(last.reason(), EndReason::Shutdown);
        assert_eq!(rig.current.peek(), None);
        assert_eq!(rig.touch(), last.session().id());
        toucher.join().expect("no panic");
        rotator.join().expect("no panic");
        assert_eq!(rig.counts(), (started, ended));
        assert_eq!(rig.current.peek(), None);
    });
}
