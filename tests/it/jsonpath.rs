//! Where our JSONPath is not the RFC's, as `docs/decisions/0005-jsonpath.md` tells. A test here that fails because the
//! crate was mended is good news: take the case out of both.

use formgate::map::{Path, SelectorError};
use jsonpath_rust::parser::parse_json_path;
use jsonpath_rust::query::js_path_process;
use serde_json::{Value, json};

fn nodes(query: &str, document: &Value) -> Value {
    let query = parse_json_path(query).expect("a query");
    let nodes = js_path_process(&query, document).expect("it is evaluated");
    nodes.into_iter().map(|node| node.val.clone()).collect()
}

#[test]
fn several_selectors_give_their_nodes_one_selector_after_the_other() {
    let document = json!([{"a": 1, "d": 2}, {"a": 3, "d": 4}]);
    // RFC 9535 §2.5.1.2 has [1, 2, 3, 4]: all of one node, then all of the next.
    assert_eq!(nodes("$..['a','d']", &document), json!([1, 3, 2, 4]));
    assert_eq!(nodes("$[*]['a','d']", &document), json!([1, 3, 2, 4]));
    assert_eq!(nodes("$[0]['d','a']", &document), json!([2, 1]), "of one node the order is right");
}

#[test]
fn a_filter_directly_on_a_filtered_node_gives_nothing() {
    // The RFC has [[2], [1, 2]].
    assert_eq!(nodes("$[?@[?@>1]]", &json!([[1], [2], [1, 2]])), json!([]));
    let named = json!([{"a": [1]}, {"a": [2]}]);
    assert_eq!(nodes("$[?@.a[?@>1]]", &named), json!([{"a": [2]}]), "below a name it is right");
}

#[test]
fn invalid_function_calls_are_taken() {
    for query in [
        "$[?count(@..*)]",
        "$[?length(@.a)]",
        "$[?value(@.a)]",
        "$[?length(@.*)<3]",
        "$[?length(@['a','b'])<3]",
        "$[?length(@[?@.a])<3]",
    ] {
        assert!(Path::parse(query).is_ok(), "{query}");
    }
    for query in ["$[?length()<3]", "$[?count(1)>2]", "$[?match(@.a,'a')==true]", "$[?unknown(@.a)]"] {
        assert!(matches!(Path::parse(query), Err(SelectorError::Syntax { .. })), "{query}");
    }
}
