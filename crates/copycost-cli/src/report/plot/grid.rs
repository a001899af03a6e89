//! A grid of cells, each in the colour of its winner and hatched if the winner is undecided.

use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, VPos};

use super::ink::Ink;
use super::mark::SeriesStyle;
use super::{Canvas, DOTS, Drawn, TEXT, WIDTH, short, svg, text, width_of};

/// A cell with its winner.
#[derive(Debug, Clone)]
pub struct GridCell {
    /// The winner's index in the list of all paths, for its colour.
    pub place: usize,
    /// The winner's name.
    pub name: String,
    /// The winner's lead, as text.
    pub figure: String,
    /// Whether intervals prove the lead.
    pub decided: bool,
}

/// A grid plot.
#[derive(Debug, Clone)]
pub struct Grid {
    /// The title, for screen readers.
    pub title: String,
    /// The title below the columns.
    pub x_title: String,
    /// The names below the columns, from left to right.
    pub columns: Vec<String>,
    /// The names to the left of the rows, from bottom to top.
    pub rows: Vec<String>,
    /// The cells of each row, from bottom to top; `None` for a cell that was not measured.
    pub cells: Vec<Vec<Option<GridCell>>>,
}

/// The smallest size of a cell in CSS pixels, wide enough for the longest name.
const CELL: (i32, i32) = (86, 48);
/// The smallest room for the names of the rows, in CSS pixels.
const LEFT: i32 = 72;
const TOP: i32 = 8;

impl Grid {
    /// Draws the grid as an SVG element.
    pub fn svg(&self) -> String {
        let columns = self.columns.len().max(1) as i32;
        let left = self.rows.iter().map(|name| width_of(name) + 10).max().unwrap_or(0).max(LEFT);
        let width = WIDTH.max(left + CELL.0 * columns);
        let cell = ((width - left) / columns, CELL.1);
        let height = TOP + 40 + cell.1 * self.rows.len() as i32;
        svg(&self.title, (width, height), |canvas| self.draw(canvas, left, cell))
    }

    fn draw(&self, canvas: &Canvas<'_>, left: i32, cell: (i32, i32)) -> Drawn {
        let count = self.rows.len() as i32;
        let quiet = |anchor| text(Ink::Quiet, TEXT, anchor);
        let bottom = TOP + cell.1 * count;
        for (row, name) in self.rows.iter().enumerate() {
            let middle = bottom - cell.1 * row as i32 - cell.1 / 2;
            let at = ((left - 8) * DOTS, middle * DOTS);
            canvas.draw(&Text::new(name.clone(), at, quiet((HPos::Right, VPos::Center))))?;
        }
        for (column, name) in self.columns.iter().enumerate() {
            let middle = left + cell.0 * column as i32 + cell.0 / 2;
            let at = (middle * DOTS, (bottom + 5) * DOTS);
            canvas.draw(&Text::new(name.clone(), at, quiet((HPos::Center, VPos::Top))))?;
        }
        let under = (left + cell.0 * self.columns.len() as i32 / 2, bottom + 23);
        let at = (under.0 * DOTS, under.1 * DOTS);
        canvas.draw(&Text::new(short(&self.x_title, 50), at, quiet((HPos::Center, VPos::Top))))?;
        for (row, cells) in self.cells.iter().enumerate() {
            for (column, content) in cells.iter().enumerate() {
                let corner = (left + cell.0 * column as i32, bottom - cell.1 * (row as i32 + 1));
                draw_cell(canvas, content.as_ref(), corner, cell)?;
            }
        }
        Ok(())
    }
}

fn draw_cell(canvas: &Canvas<'_>, content: Option<&GridCell>, corner: (i32, i32), size: (i32, i32)) -> Drawn {
    let at = |x: i32, y: i32| ((corner.0 + x) * DOTS, (corner.1 + y) * DOTS);
    let corners = [at(1, 1), at(size.0 - 1, size.1 - 1)];
    let Some(cell) = content else {
        canvas.draw(&Rectangle::new(corners, Ink::Grid.colour().stroke_width(DOTS as u32)))?;
        let style = text(Ink::Quiet, TEXT, (HPos::Center, VPos::Center));
        return canvas.draw(&Text::new("–", at(size.0 / 2, size.1 / 2), style));
    };
    canvas.draw(&Rectangle::new(corners, Ink::Tint(cell.place).colour().filled()))?;
    if !cell.decided {
        canvas.draw(&Rectangle::new(corners, Ink::Hatch.colour().filled()))?;
    }
    let look = SeriesStyle { place: cell.place, set: usize::from(!cell.decided) };
    look.draw(canvas, at(11, 16), 35)?;
    let line = |ink| text(ink, TEXT, (HPos::Left, VPos::Center));
    let room = ((size.0 - 22) / 7).max(4) as usize;
    canvas.draw(&Text::new(short(&cell.name, room), at(20, 16), line(Ink::Text)))?;
    canvas.draw(&Text::new(short(&cell.figure, room + 2), at(8, 34), line(Ink::Text)))
}
