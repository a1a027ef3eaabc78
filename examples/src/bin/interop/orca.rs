//! Load reports: in a call's trailing metadata, and as a stream.

use std::{sync::Arc, time::Duration};

use examples::{
    testing::TestOrcaReport,
    xds::{
        data::orca::v3::OrcaLoadReport,
        service::orca::v3::{
            OrcaLoadReportRequest,
            open_rca_service_server::{OpenRcaService, OpenRcaServiceServer},
        },
    },
};
use futures_util::{StreamExt as _, stream::BoxStream};
use http::{HeaderName, HeaderValue};
use prost::Message as _;
use tokio::{sync::watch, time};
use tonic::{Request, Response, Status, metadata::BinaryMetadataValue};

/// Where a call's own report stands.
pub(crate) const HEADER: HeaderName = HeaderName::from_static("endpoint-load-metrics-bin");
/// No caller is told more often than this.
const SHORTEST: Duration = Duration::from_millis(100);

/// The load as it was last set; clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Reports(Arc<watch::Sender<OrcaLoadReport>>);

impl Default for Reports {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(OrcaLoadReport::default())))
    }
}

impl Reports {
    pub(crate) fn set(&self, report: OrcaLoadReport) {
        self.0.send_replace(report);
    }

    pub(crate) fn into_server(self) -> OpenRcaServiceServer<Self> {
        OpenRcaServiceServer::new(self)
    }
}

#[tonic::async_trait]
impl OpenRcaService for Reports {
    type StreamCoreMetricsStream = BoxStream<'static, Result<OrcaLoadReport, Status>>;

    async fn stream_core_metrics(
        &self,
        request: Request<OrcaLoadReportRequest>,
    ) -> Result<Response<Self::StreamCoreMetricsStream>, Status> {
        let asked = request.into_inner().report_interval.unwrap_or_default();
        let period = Duration::try_from(asked)
            .map_err(|_| Status::invalid_argument("the interval between reports is negative"))?
            .max(SHORTEST);
        let reports = self.0.subscribe();
        let ticks = futures_util::stream::unfold(time::interval(period), |mut ticks| async {
            ticks.tick().await;
            Some(((), ticks))
        });
        Ok(Response::new(ticks.map(move |()| Ok(reports.borrow().clone())).boxed()))
    }
}

/// What a test wants to be reported, as a report.
pub(crate) fn report(wanted: TestOrcaReport) -> OrcaLoadReport {
    OrcaLoadReport {
        cpu_utilization: wanted.cpu_utilization,
        mem_utilization: wanted.memory_utilization,
        request_cost: wanted.request_cost,
        utilization: wanted.utilization,
        ..Default::default()
    }
}

/// A report as the value of [`HEADER`].
pub(crate) fn header(report: &OrcaLoadReport) -> HeaderValue {
    let encoded = BinaryMetadataValue::from_bytes(&report.encode_to_vec());
    HeaderValue::from_bytes(encoded.as_encoded_bytes()).unwrap_or_else(|_| HeaderValue::from_static(""))
}
