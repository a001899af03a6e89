//! Size distributions of messages that servers send, as measured by others.
//!
//! Every figure is in its source; nothing is fitted here. Where a source does not say how small or large the extremes
//! are, its first and last figure stand for them, and `source` says so.

use crate::message::MAX_SIZE;

/// The smallest message in bytes.
const MIN_SIZE: usize = 8;

/// A distribution of message sizes from the literature.
#[derive(Debug)]
pub struct Published {
    /// What a user writes to choose it: lower case letters, digits and hyphens.
    pub name: &'static str,
    /// What was measured, in one line.
    pub description: &'static str,
    /// Where the figures are, and what was done with them.
    pub source: &'static str,
    distribution: Distribution,
}

#[derive(Debug)]
enum Distribution {
    /// Some small sizes have shares of their own; the other messages follow a generalised Pareto distribution.
    HeadAndPareto {
        /// Shares of all messages, with their sizes in bytes.
        head: &'static [(f64, f64)],
        location: f64,
        scale: f64,
        shape: f64,
    },
    /// The share of messages of at most so many bytes. Between two points the logarithm of the size is interpolated.
    Quantiles(&'static [(f64, f64)]),
}

// The tables: shares and sizes in bytes. Several points stand on a line, so that a distribution is seen at once.

#[rustfmt::skip]
const KV_HEAD: &[(f64, f64)] = &[
    (0.00536, 0.0), (0.00047, 1.0), (0.17820, 2.0), (0.09239, 3.0), (0.00018, 4.0), (0.02740, 5.0),
    (0.00065, 6.0), (0.00606, 7.0), (0.00023, 8.0), (0.00837, 9.0), (0.00837, 10.0), (0.08989, 11.0),
    (0.00092, 12.0), (0.00326, 13.0), (0.01980, 14.0),
];

#[rustfmt::skip]
const SEARCH_RPC: &[(f64, f64)] = &[
    (0.0, 8.0), (0.1701, 8.0), (0.1890, 32.0), (0.3264, 64.0), (0.3417, 128.0), (0.4638, 256.0),
    (0.9104, 512.0), (0.9581, 1024.0), (0.9810, 2048.0), (0.9953, 4096.0), (0.99842, 8192.0),
    (0.99890, 16384.0), (0.99914, 32768.0), (0.99935, 65536.0), (0.99987, 131_072.0), (0.999975, 262_144.0),
    (0.999983, 524_288.0), (1.0, 3_529_904.0),
];

#[rustfmt::skip]
const RPC: &[(f64, f64)] = &[
    (0.0, 8.0), (0.0649, 8.0), (0.0973, 32.0), (0.1553, 64.0), (0.3516, 128.0), (0.4979, 256.0),
    (0.7849, 512.0), (0.8632, 1024.0), (0.9089, 2048.0), (0.9350, 4096.0), (0.9643, 8192.0),
    (0.9847, 16384.0), (0.9904, 32768.0), (0.9933, 65536.0), (0.9971, 131_072.0), (0.99845, 262_144.0),
    (0.99950, 524_288.0), (0.99975, 1_018_296.0), (0.99988, 1_996_529.0), (0.99995, 4_135_977.0),
    (1.0, 15_158_197.0),
];

#[rustfmt::skip]
const HADOOP: &[(f64, f64)] = &[
    (0.0, 53.0), (0.0074, 92.0), (0.0149, 217.0), (0.0520, 300.0), (0.1375, 326.0), (0.2026, 376.0),
    (0.2639, 480.0), (0.4591, 600.0), (0.5167, 679.0), (0.5762, 800.0), (0.6097, 1042.0), (0.6673, 1664.0),
    (0.7082, 7830.0), (0.7212, 31946.0), (0.7584, 44260.0), (0.8160, 51046.0), (0.8327, 70722.0),
    (0.8717, 81565.0), (0.8885, 102_058.0), (0.9070, 133_013.0), (0.9257, 184_284.0), (0.9535, 288_520.0),
    (0.9628, 470_507.0), (0.9721, 940_700.0), (0.9870, 2_169_118.0), (1.0, 10_000_000.0),
];

#[rustfmt::skip]
const WEB_SEARCH_FLOWS: &[(f64, f64)] = &[
    (0.0, 1430.0), (0.15, 10_000.0), (0.20, 20_000.0), (0.30, 30_000.0), (0.40, 50_000.0), (0.53, 80_000.0),
    (0.60, 200_000.0), (0.70, 1_000_000.0), (0.80, 2_000_000.0), (0.90, 5_000_000.0), (0.97, 10_000_000.0),
    (1.0, 30_000_000.0),
];

#[rustfmt::skip]
const WEB_IMAGES: &[(f64, f64)] = &[
    (0.0, 300.0), (0.10, 300.0), (0.25, 1900.0), (0.50, 10_300.0), (0.75, 41_600.0), (0.90, 130_700.0),
    (1.0, 130_700.0),
];

#[rustfmt::skip]
const WEB_HTML: &[(f64, f64)] = &[
    (0.0, 4096.0), (0.10, 4096.0), (0.25, 7168.0), (0.50, 13312.0), (0.75, 25600.0), (0.90, 50176.0),
    (1.0, 50176.0),
];

/// All published distributions.
pub static ALL: &[Published] = &[
    Published {
        name: "kv",
        description: "values of a key-value store: Facebook's memcached pool ETC, as modelled in 2012",
        source: "B. Atikoglu, Y. Xu, E. Frachtenberg, S. Jiang, M. Paleczny: Workload Analysis of a Large-Scale Key-Value \
                 Store, SIGMETRICS 2012, section 5: below 15 bytes the discrete shares of table 5, above them a \
                 generalised Pareto distribution with sigma 214.476 and k 0.348238. It starts at 15 bytes, as in the load \
                 generator mutilate (Generator.cc). Three of ten values are below 8 bytes and count as 8. \
                 https://doi.org/10.1145/2254756.2254766",
        distribution: Distribution::HeadAndPareto {
            head: KV_HEAD,
            location: 15.0,
            scale: 214.476,
            shape: 0.348238,
        },
    },
    Published {
        name: "search-rpc",
        description: "messages of Google's search application (W2 of the Homa paper)",
        source: "B. Montazeri, Y. Li, M. Alizadeh, J. Ousterhout: Homa: A Receiver-Driven Low-Latency Transport Protocol \
                 Using Network Priorities, SIGCOMM 2018, figure 1, workload W2, which cites an internal memo of Google \
                 (2008). Figures: array w2 in util/dist.cc of https://github.com/PlatformLab/HomaModule, at powers of two, \
                 shares rounded; messages below 8 bytes count as 8 there",
        distribution: Distribution::Quantiles(SEARCH_RPC),
    },
    Published {
        name: "rpc",
        description: "messages of all applications in a data center of Google (W3 of the Homa paper)",
        source: "B. Montazeri, Y. Li, M. Alizadeh, J. Ousterhout: Homa: A Receiver-Driven Low-Latency Transport Protocol \
                 Using Network Priorities, SIGCOMM 2018, figure 1, workload W3, which cites an internal memo of Google \
                 (2008). Figures: array w3 in util/dist.cc of https://github.com/PlatformLab/HomaModule, at powers of two \
                 and a few points above 1 MB, shares rounded; messages below 8 bytes count as 8 there",
        distribution: Distribution::Quantiles(RPC),
    },
    Published {
        name: "hadoop",
        description: "a Hadoop cluster of Facebook: flows, which the Homa paper takes as messages (W4)",
        source: "B. Montazeri, Y. Li, M. Alizadeh, J. Ousterhout: Homa: A Receiver-Driven Low-Latency Transport Protocol \
                 Using Network Priorities, SIGCOMM 2018, figure 1, workload W4, after A. Roy et al.: Inside the Social \
                 Network's (Datacenter) Network, SIGCOMM 2015. Figures: selected points of array w4 in \
                 util/dist.cc of https://github.com/PlatformLab/HomaModule; its first point, 53 bytes, is the smallest",
        distribution: Distribution::Quantiles(HADOOP),
    },
    Published {
        name: "web-search-flows",
        description: "flows, not messages, of a web search cluster, as in papers on data center transports",
        source: "M. Alizadeh et al.: Data Center TCP (DCTCP), SIGCOMM 2010, section 2.2 and figure 4. Figures: \
                 conf/DCTCP_CDF.txt of https://github.com/HKUST-SING/TrafficGenerator, the same as \
                 traffic_gen/WebSearch_distribution.txt of \
                 https://github.com/alibaba-edu/High-Precision-Congestion-Control. They begin with 0 bytes; here the smallest \
                 flow has 1430, one packet, the first point of w5 in util/dist.cc of \
                 https://github.com/PlatformLab/HomaModule",
        distribution: Distribution::Quantiles(WEB_SEARCH_FLOWS),
    },
    Published {
        name: "web-images",
        description: "images of web pages on mobile phones, 2021; the largest tenth counts as 130.7 kB",
        source: "E. Portis, D. Sillars: Media, in: HTTP Archive, Web Almanac 2021, figure 'Distribution of image byte sizes', \
                 mobile: percentiles 10, 25, 50, 75, 90 of the images with more than one pixel, data \
                 URLs included; 1 kB is read as 1000 bytes. Smaller and larger images count as the outermost percentile. https://almanac.httparchive.org/en/2021/media",
        distribution: Distribution::Quantiles(WEB_IMAGES),
    },
    Published {
        name: "web-html",
        description: "HTML documents of web pages, compressed, 2019; the largest tenth counts as 49 KiB",
        source: "T. Everts, K. Hempenius: Page Weight, in: HTTP Archive, Web Almanac 2019, figure 3 (mobile), column \
                 Document: percentiles 10, 25, 50, 75, 90 of the transfer size; 1 KB is 1024 bytes. Smaller and larger \
                 documents count as the outermost percentile. https://almanac.httparchive.org/en/2019/page-weight",
        distribution: Distribution::Quantiles(WEB_HTML),
    },
];

/// The published distribution of this name.
pub fn by_name(name: &str) -> Option<&'static Published> {
    ALL.iter().find(|known| known.name == name)
}

impl Published {
    /// The sizes in bytes of `classes` classes with equal shares: the quantiles in the middle of each share. They ascend,
    /// and lie between 8 bytes and 1 GiB.
    pub fn sizes(&self, classes: usize) -> Vec<usize> {
        let middle = |class: usize| (class as f64 + 0.5) / classes as f64;
        let size = |class| self.distribution.quantile(middle(class)).round() as usize;
        (0..classes).map(|class| size(class).clamp(MIN_SIZE, MAX_SIZE)).collect()
    }
}

impl Distribution {
    /// The size in bytes that the share `share` of the messages does not exceed; `share` is from 0 to below 1.
    fn quantile(&self, share: f64) -> f64 {
        match self {
            Self::HeadAndPareto { head, location, scale, shape } => {
                let mut below = 0.0;
                for (of_size, size) in *head {
                    below += of_size;
                    if share < below {
                        return *size;
                    }
                }
                let rest = (share - below) / (1.0 - below);
                location + scale * ((1.0 - rest).powf(-shape) - 1.0) / shape
            }
            Self::Quantiles(points) => {
                let next = points.partition_point(|(until, _)| *until <= share).clamp(1, points.len() - 1);
                let ((from, smaller), (until, larger)) = (points[next - 1], points[next]);
                smaller * (larger / smaller).powf((share - from) / (until - from))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quantile(name: &str, share: f64) -> f64 {
        by_name(name).unwrap().distribution.quantile(share)
    }

    fn assert_close(found: f64, expected: f64) {
        assert!((found / expected - 1.0).abs() < 1e-9, "{found} instead of {expected}");
    }

    #[test]
    fn names_are_unique_and_plain() {
        for (index, known) in ALL.iter().enumerate() {
            let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
            assert!(!known.name.is_empty() && known.name.chars().all(plain), "{}", known.name);
            assert!(ALL[..index].iter().all(|other| other.name != known.name), "{} twice", known.name);
            assert!(known.description.len() <= 100, "{}: {}", known.name, known.description.len());
            assert!(!known.source.contains("  "), "{}: {}", known.name, known.source);
            assert_eq!(by_name(known.name).map(|found| found.name), Some(known.name));
        }
        assert!(by_name("no-such").is_none());
    }

    #[test]
    fn sizes_ascend_within_the_limits() {
        for known in ALL {
            for classes in 1..=1000 {
                let sizes = known.sizes(classes);
                assert_eq!(sizes.len(), classes, "{}", known.name);
                assert!(sizes.is_sorted(), "{} with {classes} classes", known.name);
                assert!(sizes[0] >= 8 && sizes[classes - 1] <= 1 << 30, "{} with {classes}", known.name);
            }
            assert!(known.sizes(0).is_empty());
        }
    }

    #[test]
    fn tables_ascend_and_cover_all_messages() {
        for known in ALL {
            match known.distribution {
                Distribution::Quantiles(points) => {
                    assert_eq!((points[0].0, points[points.len() - 1].0), (0.0, 1.0), "{}", known.name);
                    let ascend = |pair: &[(f64, f64)]| pair[0].0 < pair[1].0 && pair[0].1 <= pair[1].1;
                    assert!(points.windows(2).all(ascend), "{}", known.name);
                    assert!(points[0].1 > 0.0, "{} has no logarithm at 0", known.name);
                }
                Distribution::HeadAndPareto { head, location, .. } => {
                    assert!(head.windows(2).all(|pair| pair[0].1 < pair[1].1), "{}", known.name);
                    assert!(head[head.len() - 1].1 <= location, "{}", known.name);
                    assert!(head.iter().map(|(share, _)| share).sum::<f64>() < 1.0, "{}", known.name);
                }
            }
        }
    }

    #[test]
    fn a_pareto_distribution_has_its_median_and_quartile() {
        let pareto =
            Distribution::HeadAndPareto { head: &[], location: 15.0, scale: 214.476, shape: 0.348238 };
        assert_close(pareto.quantile(0.0), 15.0);
        assert_close(pareto.quantile(0.5), 15.0 + 214.476 * (2f64.powf(0.348238) - 1.0) / 0.348238);
        // With shape 1/2, the square root of 1 / (1 - 3/4) is 2: the upper quartile is the location and two scales.
        let simple = Distribution::HeadAndPareto { head: &[], location: 10.0, scale: 100.0, shape: 0.5 };
        assert_close(simple.quantile(0.75), 210.0);
    }

    #[test]
    fn the_shares_of_small_values_come_before_the_pareto_distribution() {
        // 0.00536 + 0.00047 = 0.00583, and 0.44155 in all: figures of the source.
        assert_eq!(quantile("kv", 0.0058), 1.0);
        assert_eq!(quantile("kv", 0.0059), 2.0);
        assert_eq!(quantile("kv", 0.4415), 14.0);
        assert!((15.0..15.1).contains(&quantile("kv", 0.4416)));
        let median_of_the_others = 15.0 + 214.476 * (2f64.powf(0.348238) - 1.0) / 0.348238;
        assert_close(quantile("kv", (1.0 + 0.44155) / 2.0), median_of_the_others);
    }

    #[test]
    fn between_points_the_logarithm_is_interpolated() {
        assert_close(quantile("web-search-flows", 0.30), 30_000.0);
        // Half way from 1 MB to 2 MB is 1 MB times the square root of 2.
        assert_close(quantile("web-search-flows", 0.75), 1e6 * 2f64.sqrt());
        assert_close(quantile("web-images", 0.5), 10_300.0);
        assert_close(quantile("web-html", 0.95), 50_176.0);
        assert_eq!(by_name("rpc").unwrap().sizes(2), [89, 471]);
    }
}
