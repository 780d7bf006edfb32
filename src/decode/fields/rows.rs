//! Fields in rows without names: pairs of a label and a value, or a row of labels above one of values.

use super::super::document::{ContainerKind, Document, NodeId};

/// How many rows, and cells of a row, are looked at.
const ROWS_MAX: usize = 100;
const CELLS_MAX: usize = 200;

/// A label and the value entered for it.
pub(super) struct LabelledRow<'a> {
    pub(super) label: &'a str,
    pub(super) values: Vec<&'a str>,
    pub(super) node: NodeId,
}

/// Reads a list of lists; none where it isn't one of labels and values.
pub(super) fn read<'a>(document: &Document<'a>, list: NodeId) -> Option<Vec<LabelledRow<'a>>> {
    if document.children(list).nth(ROWS_MAX).is_some() {
        return None;
    }
    let rows: Vec<NodeId> = document.children(list).collect();
    let is_row = |row: &NodeId| {
        document.held(*row) == ContainerKind::List
            && document.children(*row).all(|cell| document.held(cell) == ContainerKind::Nothing)
    };
    if document.held(list) != ContainerKind::List || rows.len() < 2 || !rows.iter().all(is_row) {
        return None;
    }
    let cells: Vec<Vec<NodeId>> = rows.iter().map(|row| document.children(*row).take(CELLS_MAX).collect()).collect();
    let pairs: Vec<(NodeId, NodeId)> = match cells.as_slice() {
        [labels, values] if labels.len() == values.len() && labels.len() > 2 => {
            labels.iter().copied().zip(values.iter().copied()).collect()
        }
        rows => rows
            .iter()
            .map(|row| <[NodeId; 2]>::try_from(row.as_slice()).ok().map(|[label, value]| (label, value)))
            .collect::<Option<_>>()?,
    };
    let labels: Vec<&str> = pairs.iter().filter_map(|(label, _)| document.text(*label)).collect();
    let is_varied = labels.len() == pairs.len()
        && labels.iter().enumerate().all(|(index, label)| !labels.iter().take(index).any(|other| other == label));
    let has_address = pairs.iter().any(|(_, value)| document.text(*value).is_some_and(super::looks_like_address));
    let is_named = |label: &&str| {
        label.len() <= 200 && label.chars().any(char::is_alphabetic) && !super::looks_like_address(label)
    };
    if !is_varied || !has_address || !labels.iter().all(is_named) {
        return None;
    }
    let row = |(label, value): (NodeId, NodeId)| {
        Some(LabelledRow {
            label: document.text(label)?,
            values: document.text(value).into_iter().collect(),
            node: value,
        })
    };
    Some(pairs.into_iter().filter_map(row).collect())
}
