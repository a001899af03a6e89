//! Models of simulated paths: known costs are recovered, terms that vary together are merged, and unseen messages are
//! predicted.

use super::*;
use crate::model::design;
use copycost::message::{Fields, Layout, Spec};
use copycost::send::Release;
use fastrand::Rng;

/// A simulated path with known costs in ns.
struct Path {
    release: Release,
    calls: fn(&Features) -> f64,
    call: f64,
    field: f64,
    page: f64,
    hot: f64,
    cold: f64,
}

const GATHER: Path = Path {
    release: Release::OnReturn,
    calls: |_| 1.0,
    call: 800.0,
    field: 30.0,
    page: 0.0,
    hot: 92.0,
    cold: 140.0,
};
const BY_FIELD: Path = Path { calls: |features| features.fields, field: 0.0, ..GATHER };
const PINNED: Path = Path {
    release: Release::OnCompletion,
    calls: |_| 1.1,
    call: 1500.0,
    field: 200.0,
    page: 120.0,
    hot: 60.0,
    cold: 65.0,
};

impl Path {
    fn measure(&self, spec: &Spec, noise: f64) -> MeasuredCell {
        let features = Features::of(spec, self.release);
        let calls = (self.calls)(&features);
        let kib = if features.footprint == Footprint::Hot { self.hot } else { self.cold };
        let ns = self.call * calls
            + self.field * features.fields
            + self.page * features.pages
            + kib * features.kib;
        let notifications = if self.release == Release::OnCompletion { 1.0 } else { 0.0 };
        let counts = MessageCounts { calls, segments: features.kib / 63.9, notifications };
        MeasuredCell { features, counts, ns: vec![ns * noise] }
    }

    fn model(&self, mut noise: impl FnMut() -> f64) -> Model {
        let cells = design::training(&Spec::new(8).unwrap());
        Model::fit(&cells.iter().map(|spec| self.measure(spec, noise())).collect::<Vec<_>>()).unwrap()
    }
}

fn near(model: &Model, term: Term, value: f64) {
    let (found, _) = model.coefficient(term).unwrap_or_else(|| panic!("no {term} in {model}"));
    assert!((found / value - 1.0).abs() < 1e-6, "{term}: {found} and not {value}");
}

#[test]
fn known_costs_are_recovered_and_terms_that_vary_together_are_merged() {
    let model = GATHER.model(|| 1.0);
    near(&model, Term::Calls, 800.0);
    near(&model, Term::Fields, 30.0);
    near(&model, Term::HotKib, 92.0);
    near(&model, Term::ColdKib, 140.0);
    assert!(model.coefficient(Term::Pages).is_none() && model.coefficient(Term::Segments).is_none());
    assert!(model.notes.iter().any(|note| note.contains("segment varies with")), "{:?}", model.notes);
    // This path makes one call for each field, so no cell separates the two.
    let model = BY_FIELD.model(|| 1.0);
    near(&model, Term::Calls, 800.0);
    assert!(model.notes.iter().any(|note| note.contains("field varies with")), "{:?}", model.notes);
    let model = PINNED.model(|| 1.0);
    near(&model, Term::Pages, 120.0);
    near(&model, Term::Fields, 200.0);
    assert!(model.notes.iter().any(|note| note.contains("notification varies with")), "{:?}", model.notes);
}

#[test]
fn a_message_that_was_not_seen_is_predicted() {
    let mut rng = Rng::with_seed(3);
    let mut held = 0;
    for number in 0..60 {
        let holds = [GATHER, BY_FIELD, PINNED][number % 3].interval_holds(&mut rng);
        held += usize::from(holds);
    }
    // Expected 57.
    assert!(held >= 51, "{held} of 60");
}

impl Path {
    /// Whether the predicted interval of an unseen message contains its cost, with 3 % of noise in the cells.
    fn interval_holds(&self, rng: &mut Rng) -> bool {
        let model = self.model(|| 1.0 + 0.03 * 3f64.sqrt() * (2.0 * rng.f64() - 1.0));
        let fields = "64,20000,300".parse::<Fields>().unwrap();
        let spec = Spec { fields, footprint: Footprint::Cold, ..Spec::new(20_364).unwrap() };
        let truth = self.measure(&spec, 1.0);
        let prediction = model.predict(&truth.features);
        assert!((prediction.ns / truth.mean() - 1.0).abs() < 0.2, "{prediction:?} {}", truth.mean());
        (prediction.low..=prediction.high).contains(&truth.mean())
    }
}

#[test]
fn a_cost_below_zero_is_left_out() {
    let model = Path { field: -20.0, ..GATHER }.model(|| 1.0);
    assert!(model.coefficient(Term::Fields).is_none());
    assert!(model.notes.iter().any(|note| note.contains("field costs nothing")), "{:?}", model.notes);
    assert!(model.fit.coefficients.iter().all(|value| *value >= 0.0));
}

#[test]
fn too_few_cells_and_cells_of_one_size_are_refused() {
    let spec = |size, fields| Spec { fields, layout: Layout::Heap, ..Spec::new(size).unwrap() };
    let few: Vec<_> = [1024, 4096].map(|size| GATHER.measure(&spec(size, Fields::Even), 1.0)).to_vec();
    assert!(matches!(Model::fit(&few), Err(NoFit::TooFew { .. })));
    let alike: Vec<_> = (0..9).map(|_| GATHER.measure(&spec(4096, Fields::Single), 1.0)).collect();
    let error = Model::fit(&alike).unwrap_err();
    assert!(
        matches!(error, NoFit::Collinear { .. }) && error.to_string().contains("measure cells"),
        "{error}"
    );
    assert!(Model::fit(&[]).is_err());
}

#[test]
fn a_model_survives_serialisation() {
    let model = PINNED.model(|| 1.0);
    let text = serde_json::to_string(&model).unwrap();
    assert_eq!(serde_json::from_str::<Model>(&text).unwrap().terms, model.terms);
    assert!(text.contains("KiB cold"), "{text}");
}

/// A standard normal value, by the method of Box and Muller.
fn normal(rng: &mut Rng) -> f64 {
    let (a, b) = (1.0 - rng.f64(), rng.f64());
    (-2.0 * a.ln()).sqrt() * (std::f64::consts::TAU * b).cos()
}

/// Cells of up to four set-ups. The set-ups vary by 3 % around the cell, and the cells by 5 % around the model.
fn set_ups(path: &Path, rng: &mut Rng) -> Vec<MeasuredCell> {
    let cell = |(number, spec): (usize, Spec)| {
        let missed = (0.05 * normal(rng)).exp();
        let exact = path.measure(&spec, missed);
        let ns = (0..4 - number % 3).map(|_| exact.mean() * (0.03 * normal(rng)).exp()).collect();
        MeasuredCell { ns, ..exact }
    };
    design::training(&Spec::new(8).unwrap()).into_iter().enumerate().map(cell).collect()
}

#[test]
fn intervals_hold_with_noise_of_set_ups_and_of_cells() {
    let truth = [(Term::Calls, 800.0), (Term::HotKib, 92.0), (Term::ColdKib, 140.0)];
    let mut rng = Rng::with_seed(11);
    let (mut held, mut naively) = ([0; 3], [0; 3]);
    const RUNS: usize = 300;
    for _ in 0..RUNS {
        let cells = set_ups(&GATHER, &mut rng);
        // For comparison, treats each set-up as a separate cell.
        let apart = cells
            .iter()
            .flat_map(|cell| cell.ns.iter().map(|ns| MeasuredCell { ns: vec![*ns], ..cell.clone() }));
        let [model, naive] = [Model::fit(&cells).unwrap(), Model::fit(&apart.collect::<Vec<_>>()).unwrap()];
        assert!((0.01..0.06).contains(&model.noise.setups), "{:?}", model.noise);
        for (at, (term, value)) in truth.iter().enumerate() {
            let holds = |model: &Model| {
                model.coefficient(*term).is_some_and(|(found, reach)| (found - value).abs() <= reach)
            };
            held[at] += usize::from(holds(&model));
            naively[at] += usize::from(holds(&naive));
        }
    }
    eprintln!("held {held:?} of {RUNS}, set-ups taken for cells {naively:?}");
    // 285 are expected, minus the effect of choosing terms; 264 is 88 %.
    assert!(held.iter().all(|count| *count >= 264), "{held:?}");
    assert!(naively.iter().all(|count| *count < 255), "{naively:?}");
}
