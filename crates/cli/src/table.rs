//! Tables without lines: columns apart by blanks, so that they can be copied, cut and grepped.

use comfy_table::{
    Attribute, Cell, CellAlignment, Color, ColumnConstraint, ContentArrangement, TableStyle,
};

use crate::{output::Look, text::printable};

/// Blanks between two columns.
const GAP: u16 = 2;

/// The narrowest column that text is broken into.
const WRAPPED_MIN: u16 = 24;

/// What a cell says beside its text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// This goes as it should.
    Good,
    /// This wants attention.
    Notice,
    /// This is wrong.
    Bad,
}

/// The head of a column.
#[derive(Clone, Copy, Debug)]
pub struct Column {
    title: &'static str,
    alignment: CellAlignment,
}

/// A column of words.
pub const fn words(title: &'static str) -> Column {
    Column {
        title,
        alignment: CellAlignment::Left,
    }
}

/// A column of numbers.
pub const fn numbers(title: &'static str) -> Column {
    Column {
        title,
        alignment: CellAlignment::Right,
    }
}

/// A cell.
pub fn cell(text: impl AsRef<str>) -> Cell {
    Cell::new_owned(printable(text.as_ref()))
}

/// A cell with a tone.
pub fn toned(text: impl AsRef<str>, tone: Tone) -> Cell {
    let cell = cell(text);
    match tone {
        Tone::Plain => cell,
        Tone::Good => cell.fg(Color::Green),
        Tone::Notice => cell.fg(Color::Yellow),
        Tone::Bad => cell.fg(Color::Red).add_attribute(Attribute::Bold),
    }
}

/// A number in a cell.
pub fn number(value: impl Into<u64>) -> Cell {
    Cell::new_owned(value.into().to_string())
}

/// A table that is being filled.
pub struct Table {
    table: comfy_table::Table,
    look: Look,
    columns: Vec<Column>,
    /// Widths of the columns of the table that this one goes on; nothing, if it goes on none.
    above: Option<Vec<u16>>,
}

impl Table {
    /// A table with its head.
    pub fn new(look: Look, columns: &[Column]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_style(TableStyle::new());
        table.set_content_arrangement(ContentArrangement::Disabled);
        if look.colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        table.style_text_only();
        table.set_header(
            columns
                .iter()
                .map(|column| Cell::new(column.title).add_attribute(Attribute::Bold)),
        );
        for (column, head) in table.column_iter_mut().zip(columns) {
            column.set_cell_alignment(head.alignment);
            column.set_padding((0, GAP));
        }
        Self {
            table,
            look,
            columns: columns.to_vec(),
            above: None,
        }
    }

    /// A table that goes on below this one: without a head, and no column is narrower. So a list
    /// that is too long to be laid out at once is laid out page by page.
    pub fn continued(&self) -> Self {
        let mut next = Self::new(self.look, &self.columns);
        let widths: Vec<u16> = self
            .table
            .column_max_content_widths()
            .into_iter()
            .enumerate()
            .map(|(index, width)| width.max(self.width_above(index)))
            .collect();
        for (column, width) in next.table.column_iter_mut().zip(&widths) {
            let width = comfy_table::Width::Fixed(width.saturating_add(GAP));
            column.set_constraint(ColumnConstraint::LowerBoundary(width));
        }
        next.above = Some(widths);
        next
    }

    fn width_above(&self, index: usize) -> u16 {
        let above = self.above.as_ref();
        above
            .and_then(|widths| widths.get(index))
            .copied()
            .unwrap_or(0)
    }

    /// Breaks the text of the last column into the lines that the screen has room for.
    pub fn wrapped(mut self) -> Self {
        let Some(width) = self.look.width else {
            return self;
        };
        let last = self.table.column_count().saturating_sub(1);
        for (index, column) in self.table.column_iter_mut().enumerate() {
            column.set_constraint(if index == last {
                ColumnConstraint::LowerBoundary(comfy_table::Width::Fixed(WRAPPED_MIN))
            } else {
                ColumnConstraint::ContentWidth
            });
        }
        self.table
            .set_content_arrangement(ContentArrangement::Dynamic)
            .set_width(width);
        self
    }

    /// Appends a row.
    pub fn row(&mut self, cells: impl IntoIterator<Item = Cell>) {
        self.table.add_row(cells.into_iter().collect::<Vec<_>>());
    }

    /// The table, each line with its end.
    pub fn show(&self) -> String {
        let mut text = String::new();
        let head = usize::from(self.above.is_some());
        for line in self.table.lines().skip(head) {
            text.push_str(line.trim_end());
            text.push('\n');
        }
        text
    }
}

/// A text with a tone, outside of a table.
pub fn tinted(text: &str, tone: Tone, look: Look) -> String {
    let code = match tone {
        _ if !look.colour => return text.to_owned(),
        Tone::Plain => return text.to_owned(),
        Tone::Good => "32",
        Tone::Notice => "33",
        Tone::Bad => "1;31",
    };
    format!("\u{1b}[{code}m{text}\u{1b}[0m")
}
