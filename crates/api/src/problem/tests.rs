//! How a problem is shown: what is underlined, cut, and kept from the terminal.

use super::*;

fn problem(line: u32, source: &str, column: u32, width: u32) -> Problem {
    Problem {
        severity: Severity::Error,
        file: "gateway.yaml".to_owned(),
        line,
        column,
        excerpt: Excerpt::of(source, column, width),
        field: "rules[0].pool".to_owned(),
        message: "no pool is named `team-b`".to_owned(),
        help: "did you mean `team-a`?".to_owned(),
    }
}

/// The line of carets below the source line, and the source line.
fn underlined(problem: &Problem) -> (String, String) {
    let shown = problem.to_string();
    let mut lines = shown.lines().skip(3).map(str::to_owned);
    (lines.next().unwrap(), lines.next().unwrap())
}

#[test]
fn a_problem_is_shown_with_its_line_and_a_caret_below_what_is_meant() {
    let shown = problem(14, "    pool: team-b", 11, 6).to_string();

    let expected = "\
error: no pool is named `team-b`
  --> gateway.yaml:14:11
   |
14 |     pool: team-b
   |           ^^^^^^
   = help: did you mean `team-a`?";
    assert_eq!(shown, expected);
}

#[test]
fn several_problems_end_with_their_number() {
    let warning = Problem {
        severity: Severity::Warning,
        ..problem(2, "a: b", 1, 1)
    };
    let problems = Problems {
        problems: vec![problem(1, "a: b", 1, 1), warning],
        omitted: 3,
    };

    let shown = problems.to_string();

    let last = shown.lines().last().unwrap();
    assert_eq!(
        last,
        "gateway.yaml: 1 error, 1 warning, and 3 more not shown"
    );
}

#[test]
fn a_very_long_line_is_cut_around_the_problem() {
    let source = format!("{}team-b{}", "x".repeat(5000), "y".repeat(5000));

    let (line, carets) = underlined(&problem(1, &source, 5001, 6));

    assert!(line.chars().count() < 2 * EXCERPT_MAX);
    let at = carets.find('^').unwrap();
    assert_eq!(&line[at..at + 6], "team-b");
    assert!(carets.ends_with("^^^^^^"));
}

#[test]
fn a_place_beyond_the_end_of_the_line_still_has_a_caret() {
    let (line, carets) = underlined(&problem(1, "ab", 9, 4));

    assert_eq!(line, "1 | ab");
    assert_eq!(carets, "  |   ^");
}

#[test]
fn an_escape_sequence_in_a_file_does_not_reach_the_terminal() {
    let mut hostile = problem(1, "a: \u{1b}[2J\u{202e}b", 4, 5);
    hostile.message = "\u{1b}]0;owned\u{7}".to_owned();

    let shown = hostile.to_string();

    assert!(!shown.chars().any(|c| c != '\n' && c.is_control()));
    assert!(!shown.contains('\u{202e}'));
}

#[test]
fn a_tab_is_as_wide_as_the_caret_thinks() {
    let (line, carets) = underlined(&problem(1, "\t\tpool: x", 9, 1));

    assert_eq!(line.find('x'), carets.find('^'));
}

#[test]
fn lengths_from_a_foreign_body_cannot_fill_the_memory() {
    let mut foreign = problem(1, "a", 1, 1);
    foreign.excerpt = Excerpt {
        text: "a".to_owned(),
        start: u32::MAX,
        width: u32::MAX,
    };

    assert!(foreign.to_string().len() < 1000);
}

#[test]
fn problems_survive_the_way_through_a_response_body() {
    let problems = Problems {
        problems: vec![problem(14, "    pool: team-b", 11, 6)],
        omitted: 0,
    };

    let body = serde_json::to_string(&problems).unwrap();

    assert_eq!(serde_json::from_str::<Problems>(&body).unwrap(), problems);
    assert!(body.contains(r#""severity":"error""#));
}
