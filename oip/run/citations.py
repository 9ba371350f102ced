"""BibTeX of the methods that made a run, from the settings it was made with."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from oip.core.errors import RunError
from oip.run.run import Run

_Entry = tuple[str, str, dict[str, str]]


def _entry(kind: str, key: str, **fields: str) -> str:
    lines = "".join(f"  {name} = {{{value}}},\n" for name, value in fields.items())
    return f"@{kind}{{{key},\n{lines}}}"


def _references(*entries: _Entry) -> dict[str, str]:
    return {key: _entry(kind, key, **fields) for kind, key, fields in entries}


def _article(key: str, author: str, title: str, journal: str, year: str, **more: str) -> _Entry:
    told = {"author": author, "title": title, "journal": journal, "year": year, **more}
    return "article", key, told


def _talk(key: str, author: str, title: str, booktitle: str, year: str, **more: str) -> _Entry:
    told = {"author": author, "title": title, "booktitle": booktitle, "year": year, **more}
    return "inproceedings", key, told


def _other(key: str, author: str, title: str, howpublished: str, year: str, **more: str) -> _Entry:
    told = {"author": author, "title": title, "howpublished": howpublished, "year": year, **more}
    return "misc", key, told


_IEEE_IT = "IEEE Transactions on Information Theory"

REFERENCES = _references(
    _other(
        "moenchmeyer-oip",
        'M{\\"o}nchmeyer, Ralph',
        "Articles on CNN maps, original input patterns (OIPs) and feature patterns",
        "Blog",
        "2020",
    ),
    (
        "techreport",
        "erhan2009visualizing",
        {
            "author": "Erhan, Dumitru and Bengio, Yoshua and Courville, Aaron and Vincent, Pascal",
            "title": "Visualizing Higher-Layer Features of a Deep Network",
            "institution": "Universit{\\'e} de Montr{\\'e}al",
            "number": "1341",
            "year": "2009",
        },
    ),
    _talk(
        "simonyan2014deep",
        "Simonyan, Karen and Vedaldi, Andrea and Zisserman, Andrew",
        "Deep Inside Convolutional Networks: Visualising Image Classification Models and Saliency "
        "Maps",
        "ICLR Workshop",
        "2014",
        eprint="1312.6034",
        archiveprefix="arXiv",
    ),
    _talk(
        "yosinski2015understanding",
        "Yosinski, Jason and Clune, Jeff and Nguyen, Anh and Fuchs, Thomas and Lipson, Hod",
        "Understanding Neural Networks Through Deep Visualization",
        "ICML Deep Learning Workshop",
        "2015",
        eprint="1506.06579",
        archiveprefix="arXiv",
    ),
    _other(
        "mordvintsev2015inceptionism",
        "Mordvintsev, Alexander and Olah, Christopher and Tyka, Mike",
        "Inceptionism: Going Deeper into Neural Networks",
        "Google Research Blog",
        "2015",
    ),
    _article(
        "olah2017feature",
        "Olah, Chris and Mordvintsev, Alexander and Schubert, Ludwig",
        "Feature Visualization",
        "Distill",
        "2017",
        doi="10.23915/distill.00007",
    ),
    _talk(
        "fel2023unlocking",
        "Fel, Thomas and Boissin, Thibaut and Boutin, Victor and Picard, Agustin and Novello, Paul "
        "and Colin, Julien and Linsley, Drew and Rousseau, Tom and Cad{\\`e}ne, R{\\'e}mi and "
        "Goetschalckx, Lore and Gardes, Laurent and Serre, Thomas",
        "Unlocking Feature Visualization for Deep Network with Magnitude Constrained Optimization",
        "Advances in Neural Information Processing Systems",
        "2023",
        volume="36",
    ),
    _talk(
        "mahendran2015understanding",
        "Mahendran, Aravindh and Vedaldi, Andrea",
        "Understanding Deep Image Representations by Inverting Them",
        "IEEE Conference on Computer Vision and Pattern Recognition",
        "2015",
        pages="5188--5196",
    ),
    _talk(
        "xu2020usable",
        "Xu, Yilun and Zhao, Shengjia and Song, Jiaming and Stewart, Russell and Ermon, Stefano",
        "A Theory of Usable Information under Computational Constraints",
        "International Conference on Learning Representations",
        "2020",
    ),
    _talk(
        "barber2003im",
        "Barber, David and Agakov, Felix",
        "The IM Algorithm: A Variational Approach to Information Maximization",
        "Advances in Neural Information Processing Systems",
        "2003",
        volume="16",
    ),
    _article(
        "wolpert1992stacked",
        "Wolpert, David H.",
        "Stacked Generalization",
        "Neural Networks",
        "1992",
        volume="5",
        number="2",
        pages="241--259",
    ),
    _article(
        "vanderlaan2007super",
        "van der Laan, Mark J. and Polley, Eric C. and Hubbard, Alan E.",
        "Super Learner",
        "Statistical Applications in Genetics and Molecular Biology",
        "2007",
        volume="6",
        number="1",
    ),
    _article(
        "kolchinsky2017estimating",
        "Kolchinsky, Artemy and Tracey, Brendan D.",
        "Estimating Mixture Entropy with Pairwise Distances",
        "Entropy",
        "2017",
        volume="19",
        number="7",
        pages="361",
    ),
    (
        "incollection",
        "miller1955note",
        {
            "author": "Miller, George A.",
            "title": "Note on the Bias of Information Estimates",
            "booktitle": "Information Theory in Psychology: Problems and Methods",
            "editor": "Quastler, Henry",
            "publisher": "Free Press",
            "pages": "95--100",
            "year": "1955",
        },
    ),
    _talk(
        "saxe2018information",
        "Saxe, Andrew M. and Bansal, Yamini and Dapello, Joel and Advani, Madhu and Kolchinsky, "
        "Artemy and Tracey, Brendan D. and Cox, David D.",
        "On the Information Bottleneck Theory of Deep Learning",
        "International Conference on Learning Representations",
        "2018",
    ),
    _article(
        "kozachenko1987sample",
        "Kozachenko, L. F. and Leonenko, N. N.",
        "Sample Estimate of the Entropy of a Random Vector",
        "Problems of Information Transmission",
        "1987",
        volume="23",
        number="2",
        pages="95--101",
    ),
    _article(
        "kraskov2004estimating",
        'Kraskov, Alexander and St{\\"o}gbauer, Harald and Grassberger, Peter',
        "Estimating Mutual Information",
        "Physical Review E",
        "2004",
        volume="69",
        number="6",
        pages="066138",
    ),
    _article(
        "ross2014mutual",
        "Ross, Brian C.",
        "Mutual Information between Discrete and Continuous Data Sets",
        "PLoS ONE",
        "2014",
        volume="9",
        number="2",
        pages="e87357",
    ),
    _article(
        "ahmed1989entropy",
        "Ahmed, Nabil Ali and Gokhale, D. V.",
        "Entropy Expressions and Their Estimators for Multivariate Distributions",
        _IEEE_IT,
        "1989",
        volume="35",
        number="3",
        pages="688--692",
    ),
    _talk(
        "kandasamy2015nonparametric",
        "Kandasamy, Kirthevasan and Krishnamurthy, Akshay and Poczos, Barnabas and Wasserman, "
        "Larry and Robins, James M.",
        "Nonparametric von Mises Estimators for Entropies, Divergences and Mutual Informations",
        "Advances in Neural Information Processing Systems",
        "2015",
        volume="28",
    ),
    _article(
        "laparra2011iterative",
        "Laparra, Valero and Camps-Valls, Gustavo and Malo, Jes{\\'u}s",
        "Iterative Gaussianization: From ICA to Random Rotations",
        "IEEE Transactions on Neural Networks",
        "2011",
        volume="22",
        number="4",
        pages="537--549",
    ),
    _talk(
        "johnson2019information",
        "Johnson, J. Emmanuel and Laparra, Valero and Santos-Rodriguez, Raul and Camps-Valls, "
        "Gustau and Malo, Jes{\\'u}s",
        "Information Theory in Density Destructors",
        "ICML Workshop on Invertible Neural Networks and Normalizing Flows",
        "2019",
    ),
    _article(
        "sanchezgiraldo2015measures",
        "Sanchez Giraldo, Luis Gonzalo and Rao, Murali and Principe, Jose C.",
        "Measures of Entropy from Data Using Infinitely Divisible Kernels",
        _IEEE_IT,
        "2015",
        volume="61",
        number="1",
        pages="535--548",
    ),
    _article(
        "yu2021understanding",
        "Yu, Shujian and Wickstr{\\o}m, Kristoffer and Jenssen, Robert and Principe, Jose C.",
        "Understanding Convolutional Neural Networks with Information Theory: An Initial "
        "Exploration",
        "IEEE Transactions on Neural Networks and Learning Systems",
        "2021",
        volume="32",
        number="1",
        pages="435--442",
    ),
    _other(
        "liao2023assessing",
        "Liao, Danqi and Liu, Chen and Christensen, Benjamin W. and Tong, Alexander and Huguet, "
        "Guillaume and Wolf, Guy and Nickel, Maximilian and Adelstein, Ian and Krishnaswamy, Smita",
        "Assessing Neural Network Representations During Training Using Noise-Resilient Diffusion "
        "Spectral Entropy",
        "arXiv:2312.04823",
        "2023",
    ),
    _talk(
        "belghazi2018mine",
        "Belghazi, Mohamed Ishmael and Baratin, Aristide and Rajeshwar, Sai and Ozair, Sherjil and "
        "Bengio, Yoshua and Courville, Aaron and Hjelm, Devon",
        "Mutual Information Neural Estimation",
        "International Conference on Machine Learning",
        "2018",
    ),
    _talk(
        "song2020understanding",
        "Song, Jiaming and Ermon, Stefano",
        "Understanding the Limitations of Variational Mutual Information Estimators",
        "International Conference on Learning Representations",
        "2020",
    ),
    _other(
        "oord2018representation",
        "van den Oord, Aaron and Li, Yazhe and Vinyals, Oriol",
        "Representation Learning with Contrastive Predictive Coding",
        "arXiv:1807.03748",
        "2018",
    ),
    _article(
        "nguyen2010estimating",
        "Nguyen, XuanLong and Wainwright, Martin J. and Jordan, Michael I.",
        "Estimating Divergence Functionals and the Likelihood Ratio by Convex Risk Minimization",
        _IEEE_IT,
        "2010",
        volume="56",
        number="11",
        pages="5847--5861",
    ),
    _article(
        "benjamini1995controlling",
        "Benjamini, Yoav and Hochberg, Yosef",
        "Controlling the False Discovery Rate: A Practical and Powerful Approach to Multiple "
        "Testing",
        "Journal of the Royal Statistical Society: Series B",
        "1995",
        volume="57",
        number="1",
        pages="289--300",
    ),
    (
        "software",
        "oip",
        {"title": "oip: original input patterns of CNN maps", "version": "VERSION"},
    ),
    _other("chollet2015keras", "Chollet, Fran{\\c{c}}ois and others", "Keras", "Software", "2015"),
    _talk(
        "abadi2016tensorflow",
        "Abadi, Mart{\\'\\i}n and others",
        "TensorFlow: A System for Large-Scale Machine Learning",
        "USENIX Symposium on Operating Systems Design and Implementation",
        "2016",
        pages="265--283",
    ),
)
"""BibTeX entries by their keys."""


Settings = dict[str, Any]

_ASCENT: tuple[tuple[str, Callable[[Settings], bool]], ...] = (
    ("moenchmeyer-oip", lambda _: True),
    ("erhan2009visualizing", lambda _: True),
    ("simonyan2014deep", lambda _: True),
    (
        "yosinski2015understanding",
        lambda told: any(told.get(name) or 0 for name in ("blur", "blur_end")),
    ),
    ("mordvintsev2015inceptionism", lambda told: bool(told.get("jitter"))),
    (
        "olah2017feature",
        lambda told: (
            told.get("parameterisation") == "fourier"
            or any(told.get(name) for name in ("decorrelate", "diversity", "scale", "rotation"))
        ),
    ),
    ("fel2023unlocking", lambda told: told.get("parameterisation") == "phase"),
    (
        "mahendran2015understanding",
        lambda told: any(told.get(name) for name in ("total_variation", "norm")),
    ),
)
"""What a reconstruction rests on, by its settings."""

_ESTIMATORS = {
    "decoder": ("xu2020usable", "barber2003im"),
    "predictive": ("xu2020usable", "wolpert1992stacked", "vanderlaan2007super"),
    "kde": ("kolchinsky2017estimating",),
    "binning": ("miller1955note", "saxe2018information"),
    "ksg": ("kozachenko1987sample", "kraskov2004estimating", "ross2014mutual"),
    "gaussian": ("ahmed1989entropy",),
    "vme": ("kandasamy2015nonparametric",),
    "rbig": ("laparra2011iterative", "johnson2019information"),
    "renyi": ("sanchezgiraldo2015measures", "yu2021understanding"),
    "dse": ("liao2023assessing",),
    "dsmi": ("liao2023assessing",),
    "mine": ("belghazi2018mine",),
    "smile": ("song2020understanding",),
    "infonce": ("oord2018representation",),
    "nwj": ("nguyen2010estimating",),
}
"""What the estimators of a ranking rest on."""


def citations(run: Run) -> dict[str, str]:
    """BibTeX entries by key, in the order in which they are of use: methods, then software.

    Methods are those that the run's own settings and rankings name; stability and its null are ours
    and are cited with the program.
    """
    settings = run.info.get("settings", {})
    keys: list[str] = []
    if run.reconstructed():
        told = settings.get("reconstruct", {})
        keys += [key for key, used in _ASCENT if used(told)]
    estimators = _estimators(run, settings)
    for name in estimators:
        keys += _ESTIMATORS.get(name, ())
    if estimators:
        keys.append("benjamini1995controlling")
    keys += ["oip", "chollet2015keras", "abadi2016tensorflow"]
    entries = {key: REFERENCES[key] for key in dict.fromkeys(keys)}
    version = run.info.get("versions", {}).get("oip", "")
    entries["oip"] = entries["oip"].replace("VERSION", str(version))
    return entries


def _estimators(run: Run, settings: dict[str, Any]) -> list[str]:
    """Names of the estimators of all rankings of a run, the first one's first."""
    found: dict[str, None] = {}
    for index in run.ranked():
        try:
            told = run.ranking(index) or {}
        except RunError:
            continue
        for one in told.get("estimators", ()):
            found[str(one.get("estimator"))] = None
    if not found:
        found = dict.fromkeys(settings.get("rank", {}).get("estimators", {}))
    return list(found)
