"""Modules inside Ray's packages that programs import from, and where their names are here.

Ray's packages offer the same names, which is where Heliostat has them. For the import hook, which reads
puts such modules into the packages that it hands out. A line of the table: where the names are, then the modules.
"""

_TABLE = """
heliostat.air ray.air.config ray.air.result
heliostat.train ray.train.base_trainer ray.train.trainer
heliostat.train.collective ray.train.collective.collectives
heliostat.train.lightgbm ray.train.lightgbm.config ray.train.lightgbm.lightgbm_checkpoint
heliostat.train.lightgbm ray.train.lightgbm.lightgbm_trainer
heliostat.train.tensorflow ray.train.tensorflow.config ray.train.tensorflow.tensorflow_checkpoint
heliostat.train.tensorflow ray.train.tensorflow.tensorflow_trainer
heliostat.train.torch ray.train.torch.config ray.train.torch.torch_checkpoint
heliostat.train.torch ray.train.torch.torch_trainer ray.train.torch.train_loop_utils
heliostat.train.xgboost ray.train.xgboost.config ray.train.xgboost.xgboost_checkpoint
heliostat.train.xgboost ray.train.xgboost.xgboost_trainer
heliostat.tune ray.tune.analysis.experiment_analysis
heliostat.tune ray.tune.execution ray.tune.execution.placement_groups
heliostat.tune ray.tune.experiment.experiment ray.tune.trainable.trainable
heliostat.tune ray.tune.trainable.util
heliostat.tune.search.ax ray.tune.search.ax.ax_search
heliostat.tune.search.bayesopt ray.tune.search.bayesopt.bayesopt_search
heliostat.tune.search.bohb ray.tune.search.bohb.bohb_search
heliostat.tune.search.hebo ray.tune.search.hebo.hebo_search
heliostat.tune.search.hyperopt ray.tune.search.hyperopt.hyperopt_search
heliostat.tune.search.nevergrad ray.tune.search.nevergrad.nevergrad_search
heliostat.tune.search.optuna ray.tune.search.optuna.optuna_search
heliostat.tune.search.zoopt ray.tune.search.zoopt.zoopt_search
heliostat.tune.search ray.tune.search.concurrency_limiter ray.tune.search.search_generator
heliostat.tune.stopper ray.tune.stopper.experiment_plateau ray.tune.stopper.function_stopper
heliostat.tune.stopper ray.tune.stopper.maximum_iteration ray.tune.stopper.noop
heliostat.tune.stopper ray.tune.stopper.stopper ray.tune.stopper.timeout
heliostat.tune.stopper ray.tune.stopper.trial_plateau
heliostat.data.datasource ray.data.datasource.datasource ray.data.datasource.file_based_datasource
heliostat.data.datasource ray.data.datasource.file_datasink
heliostat.data.preprocessors ray.data.preprocessors.hasher ray.data.preprocessors.tokenizer
heliostat.runtime_env ray.runtime_env.runtime_env
heliostat.util.multiprocessing ray.util.multiprocessing.pool
heliostat.util.collective ray.util.collective.collective
heliostat.util.state ray.util.state.api
cloudpickle ray.cloudpickle ray.cloudpickle.cloudpickle
"""


HOMES = {
    module: target
    for target, *modules in map(str.split, _TABLE.strip().splitlines())
    for module in modules
}


def below(module: str) -> dict[str, str]:
    """The modules right in one, and where their names are.

    Example:
        >>> below("ray.air")
        {'ray.air.config': 'heliostat.air', 'ray.air.result': 'heliostat.air'}
    """
    return {inner: home for inner, home in HOMES.items() if inner.rpartition(".")[0] == module}
