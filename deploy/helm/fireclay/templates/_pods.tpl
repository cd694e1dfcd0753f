{{/* What gateways and workers have alike. */}}

{{- define "fireclay.labels" -}}
app.kubernetes.io/name: fireclay
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .part }}
{{- end }}

{{- define "fireclay.name" -}}
{{ printf "%s-%s" .root.Release.Name .part | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "fireclay.image" -}}
{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}
{{- end }}

{{/* Sandboxes are made of namespaces, mounts and control groups, which a pod's defaults forbid: deploy/compose.yaml says of each what is
lost. The wall between a sandbox and the pod stays fireclay's own; the wall between the pod and its node becomes thinner, so give workers
nodes of their own. A gateway that runs nothing has none of it. */}}
{{- define "fireclay.security" -}}
{{- if .works }}
runAsUser: 0
allowPrivilegeEscalation: true
readOnlyRootFilesystem: true
procMount: Unmasked
seccompProfile: { type: Unconfined }
appArmorProfile: { type: Unconfined }
capabilities:
  drop: [ALL]
  add: [SYS_ADMIN, SETUID, SETGID, CHOWN, DAC_OVERRIDE, FOWNER, KILL, SYS_PTRACE, SETPCAP]
{{- else }}
runAsUser: 0
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
seccompProfile: { type: RuntimeDefault }
capabilities:
  drop: [ALL]
{{- end }}
{{- end }}

{{- define "fireclay.settings" -}}
{{- range $name, $value := . }}
- --set
- {{ printf "%s=%v" $name $value | quote }}
{{- end }}
{{- end }}

{{- define "fireclay.mounts" -}}
- { name: data, mountPath: /var/lib/fireclay }
- { name: tmp, mountPath: /tmp }
- { name: credentials, mountPath: /etc/fireclay/credentials, readOnly: true }
{{- if .Values.cluster.caSecret }}
- { name: ca, mountPath: {{ .Values.cluster.caPath | quote }}, readOnly: true }
{{- end }}
{{- end }}

{{- define "fireclay.volumes" -}}
- name: tmp
  emptyDir: { medium: Memory, sizeLimit: 256Mi }
- name: credentials
  secret: { secretName: {{ .Values.cluster.credentialsSecret | quote }}, defaultMode: 256 }
{{- if .Values.cluster.caSecret }}
- name: ca
  secret: { secretName: {{ .Values.cluster.caSecret | quote }} }
{{- end }}
{{- end }}

{{- define "fireclay.placing" -}}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}
