"""Who a trial is, and where its files are."""

from heliostat.tune import TuneContext

ENGINE = None


def test_a_trial_knows_itself_its_study_and_where_both_are_kept():
    context = TuneContext("t1", "f_t1", "/results/study/f_t1", {"CPU": 1}, "study")
    storage = context.get_storage()
    assert storage.storage_path == "/results"
    assert storage.experiment_dir_name == context.get_experiment_name() == "study"
    assert storage.experiment_fs_path == "/results/study"
    assert storage.trial_fs_path == context.get_trial_dir()


def test_a_trial_is_a_world_of_one():
    context = TuneContext()
    assert (context.get_world_size(), context.get_local_world_size()) == (1, 1)
    ranks = (context.get_world_rank(), context.get_local_rank(), context.get_node_rank())
    assert ranks == (0, 0, 0)
    assert context.get_metadata() == {}
