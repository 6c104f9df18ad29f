//! Key spans with a tag each, and the question "which of them overlap this span?".
//!
//! A treap ordered by `(start, end, tag)` in which every node knows the furthest end below it. Insert
//! and remove cost O(log n), and a query O(log n) for each span found. Its shape comes from a counter
//! that is scrambled, so a run repeats exactly; what a query yields, and in which order, does not
//! depend on the shape.
//!
//! Rejected: one map of segments cut at every end of every span, because n nested scans would cost
//! n * n entries; a map by start alone, because one wide scan would make every query walk all of it.
//!
//! Not here: empty spans, which overlap nothing and are dropped by the callers.

use proto::{Key, KeySpan};
use std::ops::ControlFlow;

/// A set of `(span, tag)` pairs.
pub(super) struct SpanIndex<T> {
    root: Link<T>,
    draws: u64,
}

type Link<T> = Option<Box<Node<T>>>;

struct Node<T> {
    span: KeySpan,
    tag: T,
    /// No child weighs more than its parent.
    weight: u64,
    /// The furthest end in this subtree; `None` is the end of the key space.
    furthest: Option<Key>,
    left: Link<T>,
    right: Link<T>,
}

impl<T: Ord> SpanIndex<T> {
    pub(super) fn new() -> Self {
        SpanIndex { root: None, draws: 0 }
    }

    /// Adds a pair that is not in the set.
    pub(super) fn insert(&mut self, span: KeySpan, tag: T) {
        assert!(!span.is_empty(), "an empty span cannot be indexed");
        self.draws = self.draws.wrapping_add(1);
        let node = Node {
            furthest: span.end.clone(),
            span,
            tag,
            weight: scramble(self.draws),
            left: None,
            right: None,
        };
        insert(&mut self.root, Box::new(node));
    }

    /// Takes a pair out, and says whether it was in the set.
    #[must_use]
    pub(super) fn remove(&mut self, span: &KeySpan, tag: &T) -> bool {
        remove(&mut self.root, (span, tag))
    }

    /// Shows the pairs whose span overlaps `span`, in order, until `visitor` breaks.
    pub(super) fn visit<F>(&self, span: &KeySpan, visitor: &mut F) -> ControlFlow<()>
    where
        F: FnMut(&KeySpan, &T) -> ControlFlow<()>,
    {
        visit(&self.root, span, visitor)
    }

    /// Asserts order, heap property and furthest ends, and returns the number of pairs.
    pub(super) fn check_invariants(&self) -> usize {
        let mut pairs: Vec<(&KeySpan, &T)> = Vec::new();
        check(&self.root, &mut pairs);
        for pair in pairs.windows(2) {
            assert!(pair[0] < pair[1], "{} is not before {}", pair[0].0, pair[1].0);
        }
        pairs.len()
    }
}

impl<T: Ord> Node<T> {
    fn order(&self) -> (&KeySpan, &T) {
        (&self.span, &self.tag)
    }

    /// Recomputes what depends on the children.
    fn refresh(&mut self) {
        let mut furthest = &self.span.end;
        for child in [&self.left, &self.right].into_iter().flatten() {
            furthest = later_end(furthest, &child.furthest);
        }
        self.furthest = furthest.clone();
    }
}

fn insert<T: Ord>(link: &mut Link<T>, mut new: Box<Node<T>>) {
    match link {
        Some(node) if node.weight >= new.weight => {
            assert!(new.order() != node.order(), "{} is indexed twice", new.span);
            if new.order() < node.order() {
                insert(&mut node.left, new);
            } else {
                insert(&mut node.right, new);
            }
            node.refresh();
        }
        _ => {
            (new.left, new.right) = split(link.take(), new.order());
            new.refresh();
            *link = Some(new);
        }
    }
}

fn remove<T: Ord>(link: &mut Link<T>, at: (&KeySpan, &T)) -> bool {
    let Some(node) = link else { return false };
    if at == node.order() {
        *link = merge(node.left.take(), node.right.take());
        return true;
    }
    let removed = remove(if at < node.order() { &mut node.left } else { &mut node.right }, at);
    node.refresh();
    removed
}

/// The pairs below `at`, and the others.
fn split<T: Ord>(link: Link<T>, at: (&KeySpan, &T)) -> (Link<T>, Link<T>) {
    let Some(mut node) = link else { return (None, None) };
    if node.order() < at {
        let (below, rest) = split(node.right.take(), at);
        node.right = below;
        node.refresh();
        (Some(node), rest)
    } else {
        let (below, rest) = split(node.left.take(), at);
        node.left = rest;
        node.refresh();
        (below, Some(node))
    }
}

/// Joins two trees, all pairs of the first being below those of the second.
fn merge<T: Ord>(below: Link<T>, above: Link<T>) -> Link<T> {
    let (mut below, mut above) = match (below, above) {
        (None, other) | (other, None) => return other,
        (Some(below), Some(above)) => (below, above),
    };
    if below.weight >= above.weight {
        below.right = merge(below.right.take(), Some(above));
        below.refresh();
        Some(below)
    } else {
        above.left = merge(Some(below), above.left.take());
        above.refresh();
        Some(above)
    }
}

fn visit<T, F>(link: &Link<T>, span: &KeySpan, visitor: &mut F) -> ControlFlow<()>
where
    F: FnMut(&KeySpan, &T) -> ControlFlow<()>,
{
    let Some(node) = link else { return ControlFlow::Continue(()) };
    if !ends_after(&node.furthest, &span.start) {
        return ControlFlow::Continue(());
    }
    visit(&node.left, span, visitor)?;
    if !ends_after(&span.end, &node.span.start) {
        return ControlFlow::Continue(());
    }
    if ends_after(&node.span.end, &span.start) {
        visitor(&node.span, &node.tag)?;
    }
    visit(&node.right, span, visitor)
}

fn check<'a, T: Ord>(link: &'a Link<T>, pairs: &mut Vec<(&'a KeySpan, &'a T)>) {
    let Some(node) = link else { return };
    check(&node.left, pairs);
    pairs.push(node.order());
    check(&node.right, pairs);
    let mut furthest = &node.span.end;
    for child in [&node.left, &node.right].into_iter().flatten() {
        assert!(child.weight <= node.weight, "{} is lighter than its child", node.span);
        furthest = later_end(furthest, &child.furthest);
    }
    assert_eq!(furthest, &node.furthest, "furthest end below {}", node.span);
}

fn ends_after(end: &Option<Key>, key: &Key) -> bool {
    end.as_ref().is_none_or(|end| end > key)
}

fn later_end<'a>(one: &'a Option<Key>, other: &'a Option<Key>) -> &'a Option<Key> {
    match (one, other) {
        (None, _) => one,
        (_, None) => other,
        (Some(a), Some(b)) => {
            if a >= b {
                one
            } else {
                other
            }
        }
    }
}

/// splitmix64: neighbouring counters give unrelated weights, which keeps the treap flat.
fn scramble(counter: u64) -> u64 {
    let mut z = counter.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn span(start: u8, end: u8) -> KeySpan {
        let end = (end < 20).then(|| Key::from(vec![end]));
        KeySpan { start: Key::from(vec![start]), end }
    }

    fn overlapping(index: &SpanIndex<u32>, span: &KeySpan) -> Vec<(KeySpan, u32)> {
        let mut found = Vec::new();
        let flow = index.visit(span, &mut |span, tag| {
            found.push((span.clone(), *tag));
            ControlFlow::Continue(())
        });
        assert_eq!(flow, ControlFlow::Continue(()));
        found
    }

    fn depth(link: &Link<u32>) -> usize {
        link.as_ref().map_or(0, |node| 1 + depth(&node.left).max(depth(&node.right)))
    }

    #[test]
    fn index_of_ascending_spans_stays_flat() {
        let mut index = SpanIndex::new();
        for n in 0..10_000u32 {
            index.insert(KeySpan::point(Key::from(n.to_be_bytes().to_vec())), n);
        }
        assert!(depth(&index.root) < 60, "depth {}", depth(&index.root));
    }

    #[test]
    fn visit_stops_when_the_visitor_breaks() {
        let mut index = SpanIndex::new();
        for n in 0..10 {
            index.insert(span(n, 20), n);
        }
        let mut seen = Vec::new();
        let flow = index.visit(&KeySpan::all(), &mut |_, tag| {
            seen.push(*tag);
            if *tag == 3 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!((flow, seen), (ControlFlow::Break(()), vec![0, 1, 2, 3]));
    }

    proptest! {
        #[test]
        fn index_answers_like_a_scan_over_a_set(
            steps in prop::collection::vec((0u8..20, 1u8..21, 0u32..3, any::<bool>()), 1..120),
            queries in prop::collection::vec((0u8..20, 1u8..21), 1..20),
        ) {
            let mut index = SpanIndex::new();
            let mut model = BTreeSet::new();
            for (start, length, tag, add) in steps {
                let span = span(start, start.saturating_add(length).min(20));
                if add && model.insert((span.clone(), tag)) {
                    index.insert(span, tag);
                } else {
                    prop_assert_eq!(index.remove(&span, &tag), model.remove(&(span, tag)));
                }
                prop_assert_eq!(index.check_invariants(), model.len());
            }
            for (start, length) in queries {
                let query = span(start, start.saturating_add(length).min(20));
                let expected: Vec<_> =
                    model.iter().filter(|(span, _)| span.overlaps(&query)).cloned().collect();
                prop_assert_eq!(overlapping(&index, &query), expected);
            }
        }
    }
}
