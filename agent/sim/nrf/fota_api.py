"""REST for firmware bundles and FOTA jobs: what the account may ask. PURE. Paths: the API's description."""

from agent.sim.exchange import Answer, Ask
from agent.sim.nrf.answers import answer, object_body
from agent.sim.nrf.firmwares import Firmwares
from agent.sim.nrf.fota_jobs import FotaJobs
from agent.sim.nrf.pages import first, flag, page


class FotaApi:
    """Answers over `firmwares` and `jobs`."""

    def __init__(self, firmwares: Firmwares, jobs: FotaJobs) -> None:
        self._firmwares, self._jobs = firmwares, jobs

    def answer(self, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        """None for other requests. Raises NrfError."""
        match ask.method, words:
            case "GET", ("firmwares",):
                modem = flag(ask.query, "modemOnly", default=False)
                return answer(200, page(self._firmwares.newest_first(modem=modem), ask.query))
            case "POST", ("firmwares",):
                return answer(202, self._firmwares.upload(ask.body))
            case "DELETE", ("firmwares", bundle):
                self._firmwares.delete(bundle)
                return answer(202)
            case "GET", ("fota-job-executions", device):
                return answer(200, page(self._jobs.executions_of(device), ask.query))
            case "GET", ("fota-job-execution-statuses", job):
                return answer(200, page(self._jobs.statuses(job, first(ask.query, "status")), ask.query))
            case _, ("fota-jobs", *rest):
                return self._of_job(ask, tuple(rest))
        return None

    def _of_job(self, ask: Ask, words: tuple[str, ...]) -> Answer | None:
        match ask.method, words:
            case "POST", ():
                return answer(201, {"jobId": self._jobs.create(object_body(ask.body))})
            case "GET", ():
                return answer(200, self._jobs.page(ask.query))
            case "GET", (job,):
                return answer(200, self._jobs.shown(self._jobs.find(job)))
            case "DELETE", (job,):
                self._jobs.delete(job)
                return answer(202)
            case "POST", (job, "apply"):
                self._jobs.apply(job)
                return answer(202)
            case "PUT", (job, "cancel"):
                self._jobs.cancel(job, first(ask.query, "reason"))
                return answer(202)
        return None
