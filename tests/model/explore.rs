//! The model checker: it visits every reachable state breadth first, and then searches from each a
//! way back to a state where all is well.
//!
//! Safety is checked in every state when it is reached, so the trace of a violation is as short as
//! possible. Liveness is decided on the whole graph: from every state, a state where all is well is
//! reachable by fair steps. In a finite graph this is equivalent to "it is reached if every step
//! that is enabled again and again is taken at last". It is also correct for graphs with cycles,
//! where a checker that follows paths until a known state overlooks traps.
//!
//! States are stored completely and not as fingerprints, so no two are confused.

use std::fmt::Debug;
use std::hash::Hash;

use indexmap::IndexSet;
use rustc_hash::FxBuildHasher;

/// A system of states and steps.
pub trait System {
    /// A state of the whole system.
    type State: Clone + Eq + Hash + Debug;
    /// A step.
    type Step: Copy + Debug;

    /// The initial state.
    fn initial(&self) -> Self::State;
    /// Adds every enabled step of a state with its result.
    fn steps(&self, state: &Self::State, next: &mut Vec<(Self::Step, Self::State)>);
    /// The promise that a state breaks, if any.
    fn broken(&self, state: &Self::State) -> Option<&'static str>;
    /// Whether all is well, and stays so without further events.
    fn is_well(&self, state: &Self::State) -> bool;
    /// Whether a step happens by itself; a crash does not.
    fn is_fair(&self, step: Self::Step) -> bool;
}

/// The result of an exploration.
#[derive(Debug)]
pub struct Explored {
    /// The number of states.
    pub states: usize,
    /// The number of steps between them.
    pub steps: usize,
    /// The largest distance of a state from the initial one.
    pub depth: usize,
    /// The broken promise with its trace.
    pub violation: Option<Violation>,
}

/// A broken promise.
#[derive(Debug)]
pub struct Violation {
    /// The promise.
    pub promise: &'static str,
    /// The steps from the initial state, and the final state.
    pub story: Vec<String>,
}

/// The promise that is broken if a state has no way back.
pub const TRAPPED: &str = "what is saved is applied in the end";

/// Explores the system, up to this number of states.
pub fn explore<S: System>(system: &S, most: usize) -> Explored {
    let mut seen = Seen::default();
    seen.insert(system.initial());
    // The predecessor of each state, and the reversed fair steps for the way back.
    let (mut from, mut level): (Vec<u32>, Vec<u16>) = (vec![0], vec![0]);
    let mut fair: Vec<(u32, u32)> = Vec::new();
    let (mut next, mut steps, mut at) = (Vec::new(), 0, 0);
    while at < seen.len() {
        let index = number(at);
        system.steps(&seen[at], &mut next);
        steps += next.len();
        for (step, state) in next.drain(..) {
            let (to, is_new) = seen.insert_full(state);
            if is_new {
                assert!(seen.len() <= most, "more than {most} states");
                from.push(index);
                level.push(level[at] + 1);
                if let Some(promise) = system.broken(&seen[to]) {
                    return finding(system, &seen, &from, &level, steps, promise, to);
                }
            }
            if system.is_fair(step) {
                fair.push((number(to), index));
            }
        }
        at += 1;
    }
    let trapped = trapped(system, &seen, &mut fair);
    if let Some(state) = trapped {
        return finding(system, &seen, &from, &level, steps, TRAPPED, state);
    }
    Explored {
        states: at,
        steps,
        depth: usize::from(*level.last().unwrap_or(&0)),
        violation: None,
    }
}

/// The number of a state, in few bytes.
fn number(index: usize) -> u32 {
    u32::try_from(index).expect("fewer than 4 billion states")
}

/// The first state from which no fair steps lead to a state where all is well. `fair` has the
/// reversed steps.
fn trapped<S: System>(
    system: &S,
    states: &Seen<S::State>,
    fair: &mut [(u32, u32)],
) -> Option<usize> {
    fair.sort_unstable();
    let mut can: Vec<bool> = states.iter().map(|state| system.is_well(state)).collect();
    let well = (0..states.len()).filter(|&index| can[index]);
    let mut todo: Vec<u32> = well.map(number).collect();
    assert!(!todo.is_empty(), "nothing is ever well");
    while let Some(state) = todo.pop() {
        let begin = fair.partition_point(|(to, _)| *to < state);
        for (_, before) in fair[begin..].iter().take_while(|(to, _)| *to == state) {
            if !std::mem::replace(&mut can[*before as usize], true) {
                todo.push(*before);
            }
        }
    }
    can.iter().position(|can| !can)
}

fn finding<S: System>(
    system: &S,
    seen: &Seen<S::State>,
    from: &[u32],
    level: &[u16],
    steps: usize,
    promise: &'static str,
    end: usize,
) -> Explored {
    let mut path = vec![end];
    while let Some(&state) = path.last().filter(|state| **state != 0) {
        path.push(from[state] as usize);
    }
    path.reverse();
    let mut story = Vec::new();
    for pair in path.windows(2) {
        let mut next = Vec::new();
        system.steps(&seen[pair[0]], &mut next);
        let taken = next.iter().find(|(_, state)| *state == seen[pair[1]]);
        story.extend(taken.map(|(step, _)| format!("{step:?}")));
    }
    story.push(format!("{:?}", seen[end]));
    let depth = level.iter().copied().max().map_or(0, usize::from);
    Explored {
        states: seen.len(),
        steps,
        depth,
        violation: Some(Violation { promise, story }),
    }
}

/// The states in the order of their discovery, without duplicates.
type Seen<T> = IndexSet<T, FxBuildHasher>;

#[cfg(test)]
mod tests {
    use super::*;

    /// A graph of numbers and their successors.
    struct Graph {
        edges: &'static [(u8, u8)],
        well: u8,
    }

    impl System for Graph {
        type State = u8;
        type Step = bool;

        fn initial(&self) -> u8 {
            0
        }

        fn steps(&self, state: &u8, next: &mut Vec<(bool, u8)>) {
            next.extend(
                self.edges
                    .iter()
                    .filter(|(from, _)| from == state)
                    .map(|(_, to)| (*to < 100, *to)),
            );
        }

        fn broken(&self, state: &u8) -> Option<&'static str> {
            (*state == 66).then_some("66")
        }

        fn is_well(&self, state: &u8) -> bool {
            *state == self.well
        }

        fn is_fair(&self, step: bool) -> bool {
            step
        }
    }

    fn promise(edges: &'static [(u8, u8)]) -> Option<(&'static str, usize)> {
        let violation = explore(&Graph { edges, well: 9 }, 1000).violation?;
        Some((violation.promise, violation.story.len() - 1))
    }

    #[test]
    fn a_cycle_that_can_be_left_is_no_trap() {
        assert_eq!(promise(&[(0, 1), (1, 2), (2, 1), (2, 9)]), None);
    }

    #[test]
    fn a_cycle_that_cannot_be_left_is_one_though_it_can_be_avoided() {
        assert_eq!(
            promise(&[(0, 9), (0, 1), (1, 2), (2, 1)]),
            Some((TRAPPED, 1))
        );
    }

    #[test]
    fn an_end_that_is_reached_by_two_ways_is_found() {
        assert_eq!(
            promise(&[(0, 1), (0, 2), (1, 3), (2, 3), (3, 9), (3, 4)]),
            Some((TRAPPED, 3))
        );
    }

    #[test]
    fn a_way_out_that_only_a_crash_opens_is_none() {
        assert_eq!(
            promise(&[(0, 9), (0, 1), (1, 100), (100, 9)]),
            Some((TRAPPED, 1))
        );
    }

    #[test]
    fn the_story_of_a_broken_promise_is_the_shortest() {
        assert_eq!(
            promise(&[(0, 1), (1, 2), (2, 66), (0, 3), (3, 66), (66, 9)]),
            Some(("66", 2))
        );
    }
}
