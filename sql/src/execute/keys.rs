//! The keys of a scan, when the values that they depend on are known.
//!
//! A condition compares as its operators say, a key is of its column's type: `id < 5000000000` on an INT column
//! is true for all of them, `id = 1.5` for none, and `id > 1.5` is `id >= 2`. A comparison with NULL is true for
//! none.

use proto::encoding::{ColumnType, Datum, TableSchema};
use proto::table::{KeyBound, KeyRange, KeySet};
use rust_decimal::Decimal;
use rust_decimal::prelude::ToPrimitive;
use std::collections::BTreeSet;

use super::eval::Evaluator;
use crate::bind::bound::Comparison;
use crate::error::SqlError;
use crate::plan::keys::{Keys, Prefix, key_type};
use crate::scalar::value::Value;

/// The keys to read.
pub(super) fn key_set(
    schema: &TableSchema,
    keys: &Keys,
    evaluator: &mut Evaluator<'_>,
) -> Result<KeySet, SqlError> {
    let prefixes = match keys {
        Keys::All => return Ok(KeySet::all()),
        Keys::Any(prefixes) => prefixes,
    };
    let mut points = BTreeSet::new();
    let mut ranges = Vec::new();
    for prefix in prefixes {
        add(schema, prefix, evaluator, &mut points, &mut ranges)?;
    }
    Ok(KeySet { points: points.into_iter().collect(), ranges })
}

fn add(
    schema: &TableSchema,
    prefix: &Prefix,
    evaluator: &mut Evaluator<'_>,
    points: &mut BTreeSet<Vec<Datum>>,
    ranges: &mut Vec<KeyRange>,
) -> Result<(), SqlError> {
    let mut starts: Vec<Vec<Datum>> = vec![Vec::new()];
    for (place, values) in prefix.equal.iter().enumerate() {
        let mut wanted = BTreeSet::new();
        for value in values {
            let value = evaluator.value(value, &[])?;
            wanted.extend(equal(value, key_type(schema, place)));
        }
        let longer = |start: &Vec<Datum>| {
            let start = start.clone();
            let key = move |value: &Datum| start.iter().cloned().chain([value.clone()]).collect();
            wanted.iter().map(key).collect::<Vec<_>>()
        };
        starts = starts.iter().flat_map(longer).collect();
    }
    let place = prefix.equal.len();
    if place == schema.key_positions().len() {
        points.extend(starts);
        return Ok(());
    }
    let mut interval = Interval::default();
    for (comparison, value) in &prefix.range {
        let value = evaluator.value(value, &[])?;
        interval.narrow(bound(*comparison, value, key_type(schema, place)));
    }
    if interval.is_empty() {
        return Ok(());
    }
    for start in starts {
        ranges.push(interval.clone().under(start));
    }
    Ok(())
}

/// The key that is equal to a value.
fn equal(value: Value, column_type: ColumnType) -> Option<Datum> {
    if !column_type.is_integer() {
        return value.into_datum().filter(|datum| !datum.is_null());
    }
    let integer = match integer_bounds(&value)? {
        Whole::Between { floor, ceil } if floor == ceil => floor,
        Whole::Between { .. } | Whole::AboveAll | Whole::BelowAll => return None,
    };
    let datum = Datum::BigInt(i64::try_from(integer).ok()?);
    datum.fits(column_type).then_some(datum)
}

/// Where a number lies among the integers.
enum Whole {
    Between { floor: i128, ceil: i128 },
    AboveAll,
    BelowAll,
}

fn integer_bounds(value: &Value) -> Option<Whole> {
    // Beyond this no integer column reaches.
    const FAR: f64 = 1e30;
    Some(match value {
        Value::Int(value) => Whole::Between { floor: (*value).into(), ceil: (*value).into() },
        Value::Numeric(value) => whole_of_decimal(value),
        Value::Double(value) if value.is_nan() || *value > FAR => Whole::AboveAll,
        Value::Double(value) if *value < -FAR => Whole::BelowAll,
        Value::Double(value) => Whole::Between {
            floor: value.floor().to_i128().expect("it is not far"),
            ceil: value.ceil().to_i128().expect("it is not far"),
        },
        Value::Null | Value::Bool(_) | Value::Text(_) | Value::Bytes(_) | Value::TimestampTz(_) => {
            return None;
        }
    })
}

fn whole_of_decimal(value: &Decimal) -> Whole {
    let whole = |value: Decimal| value.to_i128().expect("a decimal has 96 bits");
    Whole::Between { floor: whole(value.floor()), ceil: whole(value.ceil()) }
}

/// What a comparison says of a key column.
enum Bound {
    None,
    Nothing,
    Lower(Datum, Included),
    Upper(Datum, Included),
}

type Included = bool;

fn bound(comparison: Comparison, value: Value, column_type: ColumnType) -> Bound {
    if value.is_null() {
        return Bound::Nothing;
    }
    if column_type.is_integer() {
        return integer_bound(comparison, &value, column_type);
    }
    let Some(datum) = value.into_datum() else { return Bound::None };
    match comparison {
        Comparison::Less => Bound::Upper(datum, false),
        Comparison::LessOrEqual => Bound::Upper(datum, true),
        Comparison::Greater => Bound::Lower(datum, false),
        Comparison::GreaterOrEqual => Bound::Lower(datum, true),
        Comparison::Equal | Comparison::NotEqual => unreachable!("these bound nothing"),
    }
}

fn integer_bound(comparison: Comparison, value: &Value, column_type: ColumnType) -> Bound {
    let upper = matches!(comparison, Comparison::Less | Comparison::LessOrEqual);
    let (floor, ceil) = match integer_bounds(value) {
        None => return Bound::Nothing,
        Some(Whole::AboveAll) => return if upper { Bound::None } else { Bound::Nothing },
        Some(Whole::BelowAll) => return if upper { Bound::Nothing } else { Bound::None },
        Some(Whole::Between { floor, ceil }) => (floor, ceil),
    };
    let (least, greatest) = match column_type {
        ColumnType::SmallInt => (i64::from(i16::MIN), i64::from(i16::MAX)),
        ColumnType::Int => (i64::from(i32::MIN), i64::from(i32::MAX)),
        ColumnType::BigInt
        | ColumnType::DoublePrecision
        | ColumnType::Text
        | ColumnType::Boolean
        | ColumnType::Bytea
        | ColumnType::TimestampTz => (i64::MIN, i64::MAX),
    };
    let last = match comparison {
        Comparison::Less => ceil - 1,
        Comparison::LessOrEqual => floor,
        Comparison::Greater => floor + 1,
        Comparison::GreaterOrEqual => ceil,
        Comparison::Equal | Comparison::NotEqual => unreachable!("these bound nothing"),
    };
    let (least, greatest) = (i128::from(least), i128::from(greatest));
    let inside = || Datum::BigInt(i64::try_from(last).expect("it is in the column's range"));
    match upper {
        true if last >= greatest => Bound::None,
        true if last < least => Bound::Nothing,
        true => Bound::Upper(inside(), true),
        false if last <= least => Bound::None,
        false if last > greatest => Bound::Nothing,
        false => Bound::Lower(inside(), true),
    }
}

/// What all bounds of a column leave.
#[derive(Clone, Default)]
struct Interval {
    lower: Option<(Datum, Included)>,
    upper: Option<(Datum, Included)>,
    nothing: bool,
}

impl Interval {
    fn narrow(&mut self, bound: Bound) {
        match bound {
            Bound::None => {}
            Bound::Nothing => self.nothing = true,
            Bound::Lower(datum, included) => {
                let tighter = self.lower.as_ref().is_none_or(|(before, before_included)| {
                    datum > *before || (datum == *before && *before_included && !included)
                });
                if tighter {
                    self.lower = Some((datum, included));
                }
            }
            Bound::Upper(datum, included) => {
                let tighter = self.upper.as_ref().is_none_or(|(before, before_included)| {
                    datum < *before || (datum == *before && *before_included && !included)
                });
                if tighter {
                    self.upper = Some((datum, included));
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.nothing
            || match (&self.lower, &self.upper) {
                (Some((lower, lower_in)), Some((upper, upper_in))) => {
                    lower > upper || (lower == upper && !(*lower_in && *upper_in))
                }
                _ => false,
            }
    }

    /// The keys that start with `start` and go on inside.
    fn under(self, start: Vec<Datum>) -> KeyRange {
        let end = |bound: Option<(Datum, Included)>| match bound {
            Some((datum, included)) => {
                let key = start.iter().cloned().chain([datum]).collect();
                if included { KeyBound::Included(key) } else { KeyBound::Excluded(key) }
            }
            None if start.is_empty() => KeyBound::Unbounded,
            None => KeyBound::Included(start.clone()),
        };
        KeyRange { start: end(self.lower), end: end(self.upper) }
    }
}
