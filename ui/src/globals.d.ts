declare const FRAME_CSS: string;
declare module "*.css";
