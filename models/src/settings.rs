//! Settings that change while sessions live: what is published is replaced as a whole.

use loom::thread::spawn;

use crate::rig::{BACKGROUND, Rig, TIMEOUT, explore};

pub(crate) fn a_change_of_user_shows_no_reader_a_mix() {
    explore(4, || {
        let (rig, first) = Rig::started();
        rig.clock.move_to(1);
        let setter = spawn({
            let rig = rig.clone();
            move || {
                rig.current.set_user_id(Some("ada"));
                rig.current.rotate().expect("not stopped").id().to_owned()
            }
        });
        let toucher = spawn({
            let rig = rig.clone();
            move || {
                let live = rig.current.touch(true, || None).expect("live");
                (live.snapshot.id, live.snapshot.index, live.snapshot.user_id)
            }
        });
        let peeked = rig.current.peek().expect("a session is live all the time");
        let (id, index, user_id) = toucher.join().expect("no panic");
        let second = setter.join().expect("no panic");
        for (id, index, user_id) in [(id, index, user_id), (peeked.id(), peeked.index(), peeked.user_id())] {
            match index {
                1 => assert!(id == first && matches!(user_id, None | Some("ada"))),
                2 => assert!(id == second && user_id == Some("ada")),
                _ => panic!("session {index}"),
            }
        }
        assert_eq!(rig.counts(), (2, 1));
    });
}

/// The change gives the live session a new window; activity that was noted before it is kept, and a session that the old
/// timeout had ended stays ended.
pub(crate) fn a_change_to_the_background_revives_nothing() {
    explore(4, || {
        let (rig, first) = Rig::started();
        rig.clock.move_to(TIMEOUT - 1);
        let setter = spawn({
            let rig = rig.clone();
            move || rig.current.set_background(true)
        });
        let toucher = spawn({
            let rig = rig.clone();
            move || {
                rig.clock.move_to(TIMEOUT);
                rig.touch()
            }
        });
        let peeked = rig.current.peek();
        let touched = toucher.join().expect("no panic");
        setter.join().expect("no panic");
        let due = rig.current.deadline().expect("live");
        match rig.counts() {
            // The change came before the deadline.
            (1, 0) => assert!(touched == first && due == TIMEOUT + BACKGROUND),
            (2, 1) => assert!(touched != first && due == TIMEOUT + BACKGROUND),
            counts => panic!("{counts:?}"),
        }
        assert!(peeked.is_none_or(|it| it.id() == first || it.id() == touched));
        assert_eq!(rig.current.peek().expect("live").id(), touched);
    });
}
