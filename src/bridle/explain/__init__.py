"""The page that shows why classifiers are trained and judged by cross-entropy, with data in it.

``assembly`` makes one HTML file of the words, figures and modules in ``page/`` and of numbers;
``contents`` makes the numbers: ``material`` what of the data goes into the page and how exactly,
``optimum`` the classifier that the page's own training falls towards, and the path of its
penalties, ``race`` networks under several costs, ``judged`` what a model says of samples it has not
seen.
"""

from bridle.explain.assembly import assembled
from bridle.explain.contents import contents
from bridle.explain.material import Labelled, Material

__all__ = ["Labelled", "Material", "assembled", "contents"]
