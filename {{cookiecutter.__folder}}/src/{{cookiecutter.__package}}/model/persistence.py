"""Write and read a fitted pipeline as skops: without pickle, and only with trusted types."""

import zipfile
from collections.abc import Sequence
from pathlib import Path

import skops.io
from sklearn.pipeline import Pipeline
from skops.io.exceptions import UnsupportedTypeException, UntrustedTypesFoundException

from ..errors import ProjectError

# The types that a saved model may contain, besides those that skops trusts. Loading a model may construct them, so the
# list is explicit and short: scikit-learn's trees, forests and boosting, the parts of skrub's pipeline, and CatBoost,
# LightGBM and XGBoost, whose saved models are parsed by these libraries and hold no code.
TRUSTED = (
    *(f"catboost.core.CatBoost{kind}" for kind in ("Classifier", "Regressor")),
    "collections.OrderedDict",
    "functools.partial",
    "lightgbm.basic.Booster",
    *(f"lightgbm.sklearn.LGBM{kind}" for kind in ("Classifier", "Regressor")),
    "numpy.asarray",
    "numpy.dtype",
    "polars.datatypes.classes.Date",
    "polars.datatypes.classes.Datetime",
    "scipy._lib.array_api_compat.numpy._aliases.asarray",  # in splines of SciPy 1.17, the last for Python 3.11
    "scipy.interpolate._bsplines.BSpline",
    "scipy.interpolate._bsplines._BSpline",
    "sklearn.ensemble._hist_gradient_boosting.predictor.TreePredictor",
    "sklearn.metrics._dist_metrics.EuclideanDistance64",
    "sklearn.neighbors._kd_tree.KDTree",
    "sklearn.tree._tree.Tree",
    "sklearn.utils._bunch.Bunch",
    "sklearn.utils.validation.check_array",
    "skrub._apply_to_each_col.ApplyToEachCol",
    "skrub._check_input.CheckInputDataFrame",
    "skrub._clean_categories.CleanCategories",
    "skrub._clean_null_strings.CleanNullStrings",
    "skrub._dataframe._common.is_any_date",
    "skrub._dataframe._common.is_categorical",
    "skrub._dataframe._common.is_numeric",
    "skrub._datetime_encoder.DatetimeEncoder",
    "skrub._datetime_encoder._SplineEncoder",
    "skrub._drop_uninformative.DropUninformative",
    "skrub._duration_to_float.DurationToFloat",
    "skrub._squashing_scaler.SquashingScaler",
    "skrub._squashing_scaler._MinMaxScaler",
    "skrub._string_encoder.StringEncoder",
    "skrub._table_vectorizer.PassThrough",
    "skrub._table_vectorizer.ShortReprDict",
    "skrub._table_vectorizer.TableVectorizer",
    "skrub._table_vectorizer._created_by_predicate",
    "skrub._to_categorical.ToCategorical",
    "skrub._to_datetime.ToDatetime",
    "skrub._to_float.ToFloat",
    "skrub._to_str.ToStr",
    "skrub.selectors._base.All",
    "skrub.selectors._base.And",
    "skrub.selectors._base.Cols",
    "skrub.selectors._base.Filter",
    "skrub.selectors._base.Sub",
    "skrub.selectors._selectors._cardinality_below",
    "xgboost.core.Booster",
    *(f"xgboost.sklearn.XGB{kind}" for kind in ("Classifier", "Regressor", "RFClassifier", "RFRegressor")),
)
REMEDY = "To trust them, list them in params.yaml under model.trusted."


def save(pipeline: Pipeline, path: Path, trusted: Sequence[str] = ()) -> None:
    """Write the fitted pipeline as skops; raise ProjectError for one that could not be loaded again."""
    path.write_bytes(serialized(pipeline, trusted))


def serialized(pipeline: Pipeline, trusted: Sequence[str] = ()) -> bytes:
    """Return the pipeline, fitted or not, as skops; raise ProjectError for one that could not be loaded again."""
    try:
        content: bytes = skops.io.dumps(pipeline, compression=zipfile.ZIP_DEFLATED)
    except UnsupportedTypeException as error:
        raise ProjectError(f"skops cannot save the model: {error}") from error
    if unknown := set(skops.io.get_untrusted_types(data=content)) - {*TRUSTED, *trusted}:
        raise ProjectError(f"The model contains types that are not trusted: {', '.join(sorted(unknown))}. {REMEDY}")
    return content


def load(path: Path, trusted: Sequence[str] = ()) -> Pipeline:
    """Read a fitted pipeline; raise ProjectError for types that are not trusted."""
    try:
        pipeline: Pipeline = skops.io.load(path, trusted=[*TRUSTED, *trusted])
    except UntrustedTypesFoundException as error:
        raise ProjectError(f"{path}: {str(error).splitlines()[0]} {REMEDY}") from None
    return pipeline
